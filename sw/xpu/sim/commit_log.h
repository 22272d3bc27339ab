// What the SIMD cores retire, in the format of Spike's --log-commits.
//
// Instructions leave a core's pipeline in order, but some results come later: an instruction is
// written when it has its result and all before it are written. Exceptions of floating-point
// operations belong to the oldest instruction that writes the register they come with. What the
// vector unit writes comes with the tag of its instruction, in any order between instructions; the
// registers shown are those of the program order.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

class CommitLog {
 public:
  // `names`: lines "number name" of the CSRs.
  CommitLog(const char* path, const char* names, int count)
      : file(std::fopen(path, "w")), cores(count) {
    if (!file) throw std::runtime_error(std::string("cannot write the commit log ") + path);
    std::istringstream lines(names);
    int number;
    std::string name;
    while (lines >> number >> name) csr_names[number] = name;
  }
  ~CommitLog() {
    for (size_t core = 0; core < cores.size(); ++core) write(core);
    std::fclose(file);
  }
  CommitLog(const CommitLog&) = delete;

  // `words`: WORDS per core, as `Observed` in rtl/xpu_rtl/simd/observed.py.
  void sample(const uint32_t* words) {
    for (size_t core = 0; core < cores.size(); ++core, words += WORDS)
      if (words[FLAGS] & (RETIRE | LATE_X | LATE_F | LATE_FLAGS) || words[VECTOR] & VECTOR_ANY)
        take(core, words);
  }

  // Rows that the cores' vector arithmetic takes in this cycle.
  static int issues(const uint32_t* words, int count) {
    int total = 0;
    for (int core = 0; core < count; ++core, words += WORDS) total += words[VECTOR] >> 24 & 1;
    return total;
  }

  // Whether a core stores something at an address in this cycle, and what.
  static bool stores(const uint32_t* words, int count, uint32_t address, uint32_t* value) {
    for (int core = 0; core < count; ++core, words += WORDS)
      if ((words[FLAGS] & (RETIRE | STORE | TRAP)) == (RETIRE | STORE) &&
          words[ADDRESS] == address) {
        *value = words[DATA];
        return true;
      }
    return false;
  }

 private:
  enum Word {
    FLAGS, PC, WORD, VALUE, ADDRESS, DATA, LATE_X_VALUE, LATE_F_VALUE, VECTOR, ACCESS_ADDRESS,
    ACCESS_DATA, ROWS
  };
  static constexpr int ROW_BYTES = XPU_SIMD_WIDTH / 8, VECTOR_BYTES = XPU_VLEN / 8;
  static constexpr int STROBE_WORDS = (ROW_BYTES + 31) / 32, DATA_WORDS = ROW_BYTES / 4;
  static constexpr int ROW_WORDS = 1 + STROBE_WORDS + DATA_WORDS, WORDS = ROWS + 2 * ROW_WORDS;
  enum Bit : uint32_t {
    RETIRE = 1, TO_X = 2, TO_F = 4, LATE = 8, LOAD = 16, STORE = 32, CSR = 64, TRAP = 128,
    LATE_X = 256, LATE_F = 512, LATE_FLAGS = 1024, IS_VECTOR = 2048, CONFIGURE = 4096
  };
  enum VectorBit : uint32_t {
    ARITHMETIC = 1, LOADED = 2, DONE = 4, MEMORY_DONE = 8, ACCESS = 16, STORED = 32,
    VECTOR_ANY = 31, SATURATED = 1 << 18
  };
  struct Row {
    int first;      // byte of all registers
    std::vector<uint32_t> strobe, data;
  };
  struct Access {
    uint32_t address, data;
    bool stored;
    int bits;
  };
  struct VectorPart {     // of the instruction with a tag
    std::vector<Row> rows;
    std::vector<Access> accesses;
    uint32_t raised = 0;
    bool saturated = false, done = false;
  };
  struct Instruction {
    uint32_t flags, pc, word, value, address, data, raised;
    bool waits;
    int rd() const { return word >> 7 & 31; }
  };
  struct Core {
    std::deque<Instruction> instructions;
    uint32_t fflags = 0, mstatus = 0x1800, vtype = 0x80000000, vl = 0, vxrm = 0;
    VectorPart parts[32];
    uint8_t registers[32 * VECTOR_BYTES] = {};
    // The state of floating point (0x6000) or vectors (0x600) becomes dirty; true if it was not.
    bool dirty(uint32_t field = 0x6000) {
      const bool was = (mstatus & field) == field;
      mstatus |= 0x80000000 | field;
      return !was;
    }
  };

  void take(size_t number, const uint32_t* w) {
    Core& core = cores[number];
    const uint32_t flags = w[FLAGS], raised = flags & LATE_FLAGS ? flags >> 26 & 31 : 0;
    if (flags & LATE_X) finish(core, TO_X, flags >> 16 & 31, w[LATE_X_VALUE],
                               flags & LATE_F ? 0 : raised);
    if (flags & LATE_F) finish(core, TO_F, flags >> 21 & 31, w[LATE_F_VALUE], raised);
    take_vector(core, w);
    if (flags & RETIRE) {
      const bool late = (flags & LATE) && (flags & (TO_X | TO_F)) && !(flags & TRAP);
      core.instructions.push_back({flags, w[PC], w[WORD], w[VALUE], w[ADDRESS], w[DATA], 0, late});
    }
    write(number);
  }

  static void take_vector(Core& core, const uint32_t* w) {
    const uint32_t flags = w[VECTOR];
    const uint32_t* row = w + ROWS;
    for (uint32_t kind : {ARITHMETIC, LOADED}) {
      if (flags & kind) {
        Row written{int(row[0] >> 8) * ROW_BYTES, {}, {}};
        written.strobe.assign(row + 1, row + 1 + STROBE_WORDS);
        written.data.assign(row + 1 + STROBE_WORDS, row + ROW_WORDS);
        core.parts[row[0] & 31].rows.push_back(written);
      }
      row += ROW_WORDS;
    }
    VectorPart& memory = core.parts[flags >> 19 & 31];
    if (flags & ACCESS)
      memory.accesses.push_back({w[ACCESS_ADDRESS], w[ACCESS_DATA], (flags & STORED) != 0,
                                 8 << (flags >> 6 & 3)});
    if (flags & MEMORY_DONE) memory.done = true;
    if (flags & DONE) {
      VectorPart& part = core.parts[flags >> 8 & 31];
      part.done = true;
      part.raised = flags >> 13 & 31;
      part.saturated = flags & SATURATED;
    }
  }

  static void finish(Core& core, uint32_t kind, int rd, uint32_t value, uint32_t raised) {
    for (Instruction& one : core.instructions)
      if (one.waits && (one.flags & kind) && one.rd() == rd) {
        one.value = value;
        one.raised = raised;
        one.waits = false;
        return;
      }
  }

  void write(size_t number) {
    Core& core = cores[number];
    while (!core.instructions.empty() && !core.instructions.front().waits) {
      const Instruction& one = core.instructions.front();
      const bool vector = one.flags & IS_VECTOR;
      VectorPart& part = core.parts[one.address & 31];
      if (vector && !(one.flags & TRAP) && !part.done) return;
      // Spike shows what a load or store has done before it traps.
      if (one.flags & TRAP && vector && one.value >= 4) print(number, one);
      if (one.flags & TRAP)
        core.mstatus = (core.mstatus & ~0x88u) | (core.mstatus & 8) << 4;
      else
        print(number, one);
      if (vector) {
        apply(core, part);
        part = {};
      }
      core.instructions.pop_front();
    }
  }

  void print(size_t number, const Instruction& one) {
    std::fprintf(file, "core %3zu: 3 0x%08x (0x%08x)", number, one.pc, one.word);
    // Writes in the order of Spike: by number of the register, integer before floating point
    // before CSR.
    std::map<int, std::string> writes;
    char text[64];
    const bool to_f = one.flags & TO_F;
    if (to_f || (one.flags & TO_X && one.rd())) {
      std::snprintf(text, sizeof text, " %c%-2d 0x%08x", to_f ? 'f' : 'x', one.rd(), one.value);
      writes[one.rd() << 4 | to_f] = text;
    }
    Core& core = cores[number];
    uint32_t& fflags = core.fflags;
    const int csr_number = one.flags & CSR ? int(one.word >> 20) : -1;
    if (csr_number == 0x300) core.mstatus = one.data;
    if ((one.flags & TO_F || one.raised || (csr_number >= 1 && csr_number <= 3)) && core.dirty())
      csr(writes, 0x300, core.mstatus);
    if (one.raised) csr(writes, 1, fflags |= one.raised);
    if (csr_number >= 0) {
      if (csr_number == 1) fflags = one.data;
      if (csr_number == 3) {
        csr(writes, 1, fflags = one.data & 31);
        csr(writes, 2, one.data >> 5);
      } else {
        csr(writes, csr_number, one.data);
      }
    }
    if (one.word == 0x30200073) {  // MRET
      csr(writes, 0x300, core.mstatus = one.data);
      csr(writes, 0x310, 0);
      csr(writes, 0x7a5, 0);
    }
    if (one.flags & CONFIGURE) {
      csr(writes, 8, 0);
      // As Spike does: vl unless it is kept, vtype if it changes.
      const bool keeps = one.word >> 30 != 3 && !one.rd() && !(one.word >> 15 & 31);
      const uint32_t before = core.vtype;
      core.vl = one.value;
      core.vtype = one.data;
      if (!keeps || core.vtype >> 31) csr(writes, 0xc20, core.vl);
      if (core.vtype >> 31) csr(writes, 0xc21, 1u << 31);
      else if (core.vtype != before) csr(writes, 0xc21, core.vtype);
      if (core.dirty(0x600)) csr(writes, 0x300, core.mstatus);
    }
    if (csr_number >= 8 && csr_number <= 15 && core.dirty(0x600))
      csr(writes, 0x300, core.mstatus);
    if (csr_number == 10) core.vxrm = one.data;
    if (csr_number == 15) {
      writes.erase(15 << 4 | 4);
      csr(writes, 9, one.data & 1);
      csr(writes, 10, core.vxrm = one.data >> 1);
    }
    if (one.flags & IS_VECTOR) vector(core, one, writes);
    for (const auto& entry : writes) std::fputs(entry.second.c_str(), file);
    if (one.flags & IS_VECTOR)
      for (const Access& access : core.parts[one.address & 31].accesses) {
        std::fprintf(file, " mem 0x%08x", access.address);
        if (access.stored)
          std::fprintf(file, " 0x%0*x", access.bits / 4,
                       access.bits == 32 ? access.data : access.data & ((1u << access.bits) - 1));
      }
    if (one.flags & (LOAD | STORE)) std::fprintf(file, " mem 0x%08x", one.address);
    if (one.flags & STORE) {
      const int bits = 8 << (one.word >> 12 & 3);
      const uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
      std::fprintf(file, " 0x%0*x", bits / 4, one.data & mask);
    }
    std::fputc('\n', file);
  }

  // Write the registers of an instruction; return which ones it writes.
  static uint32_t apply(Core& core, const VectorPart& part) {
    uint32_t touched = 0;
    for (const Row& row : part.rows)
      for (int byte = 0; byte < ROW_BYTES; ++byte)
        if (row.strobe[byte / 32] >> byte % 32 & 1) {
          core.registers[row.first + byte] = row.data[byte / 4] >> 8 * (byte % 4);
          touched |= 1u << (row.first + byte) / VECTOR_BYTES;
        }
    return touched;
  }

  void vector(Core& core, const Instruction& one, std::map<int, std::string>& writes) {
    const VectorPart& part = core.parts[one.address & 31];
    const bool trap = one.flags & TRAP;
    if (!trap && core.vl != (one.data >> 8 & 0xffff))    // a first-fault load has made it less
      csr(writes, 0xc20, core.vl = one.data >> 8 & 0xffff);
    const int lmul = int(core.vtype << 29) >> 29;
    char text[64];
    std::snprintf(text, sizeof text, " e%d %s%d l%u", 8 << (core.vtype >> 3 & 7),
                  lmul < 0 ? "mf" : "m", 1 << (lmul < 0 ? -lmul : lmul), core.vl);
    writes[-1] = text;
    uint32_t touched = apply(core, part);
    // Of an integer instruction that widens, Spike also shows the registers in which its elements
    // would lie if they were not wider.
    if ((one.word & 0x7f) == 0x57 && (one.word >> 12 & 3) == 2 && one.word >> 30 == 3) {
      const int bytes = 1 << (core.vtype >> 3 & 7);
      for (const Row& row : part.rows)
        for (int byte = 0; byte < ROW_BYTES; ++byte)
          if (row.strobe[byte / 32] >> byte % 32 & 1) {
            const int element = (row.first + byte - one.rd() * VECTOR_BYTES) / (2 * bytes);
            touched |= 1u << (one.rd() + element * bytes / VECTOR_BYTES);
          }
    }
    for (int number = 0; number < 32; ++number)
      if (touched >> number & 1) {
        std::snprintf(text, sizeof text, " v%-2d 0x", number);
        std::string shown = text;
        for (int byte = VECTOR_BYTES; byte--;) {
          std::snprintf(text, sizeof text, "%02x", core.registers[number * VECTOR_BYTES + byte]);
          shown += text;
        }
        writes[number << 4 | 2] = shown;
      }
    csr(writes, 8, trap ? one.address >> 8 : 0);
    if (part.saturated) csr(writes, 9, 1);
    if (part.raised) csr(writes, 1, core.fflags |= part.raised);
    const bool dirty = core.dirty(0x600) | (part.raised ? core.dirty() : false);
    if (dirty) csr(writes, 0x300, core.mstatus);
  }

  void csr(std::map<int, std::string>& writes, int number, uint32_t value) {
    char text[64];
    const auto name = csr_names.find(number);
    std::snprintf(text, sizeof text, " c%d_%s 0x%08x", number,
                  name == csr_names.end() ? "unknown" : name->second.c_str(), value);
    writes[number << 4 | 4] = text;
  }

  std::FILE* file;
  std::vector<Core> cores;
  std::map<int, std::string> csr_names;
};
