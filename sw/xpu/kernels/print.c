/* printf for kernels: each core writes to a part of its own of a buffer that the host reads when
 * the launch is complete. Conversions: d i u x X o c s p f e g %, flags - 0 + space #, width,
 * precision, l ll h hh. Floating-point numbers are printed with the precision of a float. */
#include <stdarg.h>

#include "xpu_kernel.h"

int vprintf(const char *format, va_list arguments);

/* The host fills this in: per core a word with the number of characters (more than there is room
 * for: some are lost), then the characters. */
struct {
  char *base;
  uint32_t bytes; /* per core, the word included */
} xpu_print = {0, 0};

/* Where the text goes, while a call is under way: in LM, as the stack is. */
struct output {
  char *text;
  uint32_t used, room;
};

static struct output begin(void) {
  char *part = xpu_print.base + (uint32_t)core_id() * xpu_print.bytes;
  const struct output out = {part + 4, *(uint32_t *)part,
                             xpu_print.bytes ? xpu_print.bytes - 4 : 0};
  return out;
}
static void end(const struct output *out) { *(uint32_t *)(out->text - 4) = out->used; }
static void put(struct output *out, char c) {
  if (out->used < out->room) out->text[out->used] = c;
  ++out->used;
}

struct style {
  int left, zero, sign, other, width, precision; /* precision -1: none */
};

static int emit(struct output *out, const char *text, int length, int prefix, const struct style *style) {
  int count = length, fill = style->width > length ? style->width - length : 0;
  if (!style->left && !style->zero)
    for (; fill; --fill, ++count) put(out, ' ');
  for (int i = 0; i < prefix; ++i) put(out, text[i]);
  if (!style->left)
    for (; fill; --fill, ++count) put(out, '0');
  for (int i = prefix; i < length; ++i) put(out, text[i]);
  for (; fill; --fill, ++count) put(out, ' ');
  return count;
}

static int integer(struct output *out, uint64_t value, int negative, unsigned base, int upper, struct style *style) {
  char text[72];
  int at = (int)sizeof text, digits = 0, end = at, prefix;
  while (value || digits < (style->precision < 0 ? 1 : style->precision)) {
    const unsigned digit = (unsigned)(value % base);
    if (digits == 40) break;
    text[--at] = (char)(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
    value /= base;
    ++digits;
  }
  prefix = at;
  if (style->other && base == 16) text[--at] = upper ? 'X' : 'x', text[--at] = '0';
  if (negative) text[--at] = '-';
  else if (style->sign) text[--at] = (char)style->sign;
  if (style->precision >= 0) style->zero = 0;
  return emit(out, text + at, end - at, prefix - at, style);
}

/* A double's bits as a float, rounded to zero; the tails of doubles cannot be told apart. */
static float narrow(uint64_t bits) {
  const uint32_t sign = (uint32_t)(bits >> 32) & 0x80000000u;
  const int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
  union { uint32_t bits; float value; } result;
  if (exponent == 1024) result.bits = sign | 0x7f800000u | (bits << 12 ? 0x400000u : 0);
  else if (exponent > 127) result.bits = sign | 0x7f7fffffu;
  else if (exponent < -149) result.bits = sign;
  else if (exponent < -126)
    result.bits = sign | (uint32_t)((bits >> 29 & 0x7fffff) | 0x800000) >> (-126 - exponent);
  else result.bits = sign | (uint32_t)(exponent + 127) << 23 | (uint32_t)(bits >> 29 & 0x7fffff);
  return result.value;
}

/* Decimal digits of |value|, exactly as its bits say: mantissa * 2**exponent in base 10**9. */
static int floating(struct output *out, float value, char kind, struct style *style) {
  union { float value; uint32_t bits; } raw = {value};
  const int negative = (int)(raw.bits >> 31), field = (int)(raw.bits >> 23 & 255);
  uint32_t mantissa = raw.bits & 0x7fffff;
  char text[120];
  int length = 0, prefix;
  if (negative) text[length++] = '-';
  else if (style->sign) text[length++] = (char)style->sign;
  prefix = length;
  if (field == 255) {
    const char *name = mantissa ? "nan" : "inf";
    for (int i = 0; i < 3; ++i) text[length++] = name[i];
    style->zero = 0;
    return emit(out, text, length, prefix, style);
  }
  int exponent = (field ? field : 1) - 150;
  if (field) mantissa |= 0x800000;
  /* The number in base 10,000: ten limbs before the point, 38 behind it. */
  static __local__ uint32_t limbs[48];
  static __local__ unsigned char digits[192]; /* digits[point] is the first behind the point */
  const int point = 40;
  for (int i = 0; i < 48; ++i) limbs[i] = 0;
  limbs[9] = mantissa % 10000;
  limbs[8] = mantissa / 10000;
  while (exponent > 0) {
    const int step = exponent > 13 ? 13 : exponent;
    uint32_t carry = 0;
    for (int i = 9; i >= 0; --i) {
      const uint32_t limb = (limbs[i] << step) + carry;
      carry = limb / 10000;
      limbs[i] = limb - carry * 10000;
    }
    exponent -= step;
  }
  while (exponent < 0) {
    const int step = exponent < -13 ? 13 : -exponent;
    uint32_t rest = 0;
    for (int i = 0; i < 48; ++i) {
      const uint32_t limb = rest * 10000 + limbs[i];
      limbs[i] = limb >> step;
      rest = limb & ((1u << step) - 1);
    }
    exponent += step;
  }
  for (int i = 0; i < 48; ++i) {
    const uint32_t limb = limbs[i];
    digits[4 * i] = (unsigned char)(limb / 1000);
    digits[4 * i + 1] = (unsigned char)(limb / 100 % 10);
    digits[4 * i + 2] = (unsigned char)(limb / 10 % 10);
    digits[4 * i + 3] = (unsigned char)(limb % 10);
  }
  int first = 0; /* position of the first digit that counts */
  while (first < 191 && !digits[first]) ++first;
  const int zero = first == 191;
  int scale = zero ? 0 : point - 1 - first; /* decimal exponent */
  int precision = style->precision < 0 ? 6 : style->precision > 40 ? 40 : style->precision;
  int general = kind == 'g', scientific = kind == 'e';
  if (general) {
    if (!precision) precision = 1;
    scientific = scale < -4 || scale >= precision;
    precision -= scientific ? 1 : 1 + scale;
  }
  /* Round to nearest, ties to even, at `last`. */
  int last = scientific ? (zero ? point - 1 : first) + precision : point - 1 + precision;
  if (last < 190) {
    int tail = 0;
    for (int i = last + 2; i < 191; ++i) tail |= digits[i];
    int up = digits[last + 1] > 5 || (digits[last + 1] == 5 && (tail || digits[last] & 1));
    for (int i = last; up && i >= 0; --i) {
      up = digits[i] == 9;
      digits[i] = (unsigned char)(up ? 0 : digits[i] + 1);
    }
    if (first > 0 && digits[first - 1]) {
      --first;
      ++scale;
      if (scientific) --last;
    }
  }
  if (scientific) {
    const int begin = zero ? point - 1 : first;
    text[length++] = (char)('0' + digits[begin]);
    if (precision || style->other) text[length++] = '.';
    for (int i = 1; i <= precision; ++i) text[length++] = (char)('0' + digits[begin + i]);
  } else {
    int begin = 0;
    while (begin < point - 1 && !digits[begin]) ++begin;
    for (int i = begin; i < point; ++i) text[length++] = (char)('0' + digits[i]);
    if (precision || style->other) text[length++] = '.';
    for (int i = 0; i < precision; ++i) text[length++] = (char)('0' + digits[point + i]);
  }
  if (general && !style->other && precision) {
    while (text[length - 1] == '0') --length;
    if (text[length - 1] == '.') --length;
  }
  if (scientific) {
    text[length++] = 'e';
    text[length++] = scale < 0 ? '-' : '+';
    if (scale < 0) scale = -scale;
    text[length++] = (char)('0' + scale / 10);
    text[length++] = (char)('0' + scale % 10);
  }
  return emit(out, text, length, prefix, style);
}

static int print(struct output *out, const char *format, va_list arguments) {
  int count = 0;
  for (; *format; ++format) {
    struct style style = {0, 0, 0, 0, 0, -1};
    int size = 0;
    if (*format != '%') {
      put(out, *format);
      ++count;
      continue;
    }
    for (++format;; ++format) {
      if (*format == '-') style.left = 1;
      else if (*format == '0') style.zero = 1;
      else if (*format == '+') style.sign = '+';
      else if (*format == ' ') style.sign = style.sign ? style.sign : ' ';
      else if (*format == '#') style.other = 1;
      else break;
    }
    if (*format == '*') {
      style.width = va_arg(arguments, int), ++format;
      if (style.width < 0) style.left = 1, style.width = -style.width;
    }
    for (; *format >= '0' && *format <= '9'; ++format)
      style.width = style.width * 10 + (*format - '0');
    if (*format == '.') {
      style.precision = 0;
      if (*++format == '*') style.precision = va_arg(arguments, int), ++format;
      for (; *format >= '0' && *format <= '9'; ++format)
        style.precision = style.precision * 10 + (*format - '0');
    }
    if (style.left) style.zero = 0;
    for (; *format == 'l' || *format == 'h' || *format == 'z'; ++format)
      size += *format == 'l' ? 1 : *format == 'h' ? -1 : 0;
    switch (*format) {
      case 'd':
      case 'i': {
        int64_t value = size > 1 ? va_arg(arguments, int64_t) : va_arg(arguments, int);
        if (size == -1) value = (short)value;
        if (size == -2) value = (signed char)value;
        count += integer(out, value < 0 ? -(uint64_t)value : (uint64_t)value, value < 0, 10, 0, &style);
        break;
      }
      case 'u':
      case 'x':
      case 'X':
      case 'o': {
        uint64_t value = size > 1 ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned);
        if (size == -1) value = (unsigned short)value;
        if (size == -2) value = (unsigned char)value;
        style.sign = 0;
        count += integer(out, value, 0, *format == 'u' ? 10 : *format == 'o' ? 8 : 16, *format == 'X',
                         &style);
        break;
      }
      case 'p':
        style.other = 1;
        style.sign = 0;
        count += integer(out, (uintptr_t)va_arg(arguments, void *), 0, 16, 0, &style);
        break;
      case 'c': {
        const char c = (char)va_arg(arguments, int);
        style.zero = 0;
        count += emit(out, &c, 1, 0, &style);
        break;
      }
      case 's': {
        const char *text = va_arg(arguments, const char *);
        int length = 0;
        while (length != style.precision && text[length]) ++length;
        style.zero = 0;
        count += emit(out, text, length, 0, &style);
        break;
      }
      case 'f':
      case 'e':
      case 'g': {
        union { double value; uint64_t bits; } raw = {va_arg(arguments, double)};
        count += floating(out, narrow(raw.bits), *format, &style);
        break;
      }
      case 0:
        return count;
      default:
        put(out, *format);
        ++count;
    }
  }
  return count;
}

int vprintf(const char *format, va_list arguments) {
  struct output out = begin();
  const int count = print(&out, format, arguments);
  end(&out);
  return count;
}

int printf(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = vprintf(format, arguments);
  va_end(arguments);
  return count;
}

/* What compilers make of a printf without conversions. */
int puts(const char *text) { return printf("%s\n", text); }
int putchar(int c) {
  printf("%c", c);
  return c;
}

/* A float as an argument of printf becomes a double. */
double __extendsfdf2(float value) {
  union { float value; uint32_t bits; } in = {value};
  union { uint64_t bits; double value; } out;
  const uint32_t field = in.bits >> 23 & 255, fraction = in.bits & 0x7fffff;
  const uint64_t sign = (uint64_t)(in.bits >> 31) << 63;
  if (field == 255) {
    out.bits = sign | (uint64_t)0x7ff << 52 | (uint64_t)fraction << 29;
  } else if (field) {
    out.bits = sign | (uint64_t)(field + 1023 - 127) << 52 | (uint64_t)fraction << 29;
  } else if (fraction) {
    const int shift = __builtin_clz(fraction) - 8;
    out.bits = sign | (uint64_t)(1023 - 126 - shift) << 52 |
               (uint64_t)(fraction << shift & 0x7fffff) << 29;
  } else {
    out.bits = sign;
  }
  return out.value;
}
