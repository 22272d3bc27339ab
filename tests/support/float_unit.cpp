// Sends the operations of a file through the Verilated FloatUnit and writes their results.
//
// Input: records of a, b, c, operation, rounding mode (five words of 32 bits). Output: per record
// value and flags | integer << 8. Tags tell which operation a result belongs to.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

struct Operation { uint32_t a, b, c, op, rounding; };
struct Result { uint32_t value, flags; };

static void set_field(uint32_t* words, int lsb, int width, uint32_t value) {
  for (int bit = 0; bit < width; ++bit, ++lsb)
    if (value >> bit & 1) words[lsb / 32] |= 1u << lsb % 32;
}
static uint32_t field(uint64_t word, int lsb, int width) {
  return word >> lsb & ((uint64_t(1) << width) - 1);
}

int main(int argc, char** argv) {
  FILE* file = std::fopen(argv[1], "rb");
  std::vector<Operation> operations;
  for (Operation one; std::fread(&one, sizeof one, 1, file) == 1;) operations.push_back(one);
  std::fclose(file);
  std::vector<Result> results(operations.size());

  Vtop top;
  size_t sent = 0, received = 0;
  long owner[32];
  for (auto& slot : owner) slot = -1;
  auto receive = [&](uint32_t value, uint32_t flags, uint32_t tag, uint32_t integer) {
    if (owner[tag] < 0) std::fprintf(stderr, "result without operation\n"), std::exit(1);
    results[owner[tag]] = {value, flags | integer << 8};
    owner[tag] = -1;
    ++received;
  };
  std::srand(1);
  top.rst = 1;
  for (uint64_t cycle = 0; received < operations.size(); ++cycle) {
    const uint32_t tag = sent % 32;
    const bool offer = cycle > 4 && sent < operations.size() && owner[tag] < 0;
    if (cycle == 4) top.rst = 0;
    uint32_t words[5] = {};
    if (offer) {
      const Operation& one = operations[sent];
      set_field(words, 0, OP_BITS, one.op);
      set_field(words, OP_BITS, 3, one.rounding);
      set_field(words, OP_BITS + 3, 32, one.a);
      set_field(words, OP_BITS + 35, 32, one.b);
      set_field(words, OP_BITS + 67, 32, one.c);
      set_field(words, OP_BITS + 99, 5, tag);
    }
    for (int word = 0; word < (OP_BITS + 104 + 31) / 32; ++word) top.i___05Fpayload[word] = words[word];
    top.i___05Fvalid = offer;
    top.other___05Fready = std::rand() % 3 != 0;
    top.clk = 0;
    top.eval();
    if (offer && top.i___05Fready) owner[tag] = sent++;
    if (cycle > 4 && top.fma_valid)
      receive(field(top.fma_result, 0, 32), field(top.fma_result, 32, 5),
              field(top.fma_result, 37, 5), field(top.fma_result, 42, 1));
    if (cycle > 4 && top.other___05Fvalid && top.other___05Fready)
      receive(field(top.other___05Fpayload, 0, 32), field(top.other___05Fpayload, 32, 5),
              field(top.other___05Fpayload, 37, 5), field(top.other___05Fpayload, 42, 1));
    top.clk = 1;
    top.eval();
    if (cycle > 200 * operations.size() + 1000) std::fprintf(stderr, "it hangs\n"), std::exit(1);
  }
  file = std::fopen(argv[2], "wb");
  std::fwrite(results.data(), sizeof(Result), results.size(), file);
  std::fclose(file);
}
