// What the SIMD cores retire, in the format of Spike's --log-commits.
//
// Instructions leave a core's pipeline in order, but some results come later: an instruction is
// written when it has its result and all before it are written. Exceptions of floating-point
// operations belong to the oldest instruction that writes the register they come with.

#pragma once

#include <cstdint>
#include <cstdio>
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

  // `words`: eight per core, as `Observed` in rtl/xpu_rtl/simd/cluster.py.
  void sample(const uint32_t* words) {
    for (size_t core = 0; core < cores.size(); ++core, words += 8)
      if (words[FLAGS] & (RETIRE | LATE_X | LATE_F | LATE_FLAGS)) take(core, words);
  }

  // Whether a core stores something at an address in this cycle, and what.
  static bool stores(const uint32_t* words, int count, uint32_t address, uint32_t* value) {
    for (int core = 0; core < count; ++core, words += 8)
      if ((words[FLAGS] & (RETIRE | STORE | TRAP)) == (RETIRE | STORE) &&
          words[ADDRESS] == address) {
        *value = words[DATA];
        return true;
      }
    return false;
  }

 private:
  enum Word { FLAGS, PC, WORD, VALUE, ADDRESS, DATA, LATE_X_VALUE, LATE_F_VALUE };
  enum Bit : uint32_t {
    RETIRE = 1, TO_X = 2, TO_F = 4, LATE = 8, LOAD = 16, STORE = 32, CSR = 64, TRAP = 128,
    LATE_X = 256, LATE_F = 512, LATE_FLAGS = 1024
  };
  struct Instruction {
    uint32_t flags, pc, word, value, address, data, raised;
    bool waits;
    int rd() const { return word >> 7 & 31; }
  };
  struct Core {
    std::deque<Instruction> instructions;
    uint32_t fflags = 0, mstatus = 0x1800;
    // The kernel's state of floating point becomes dirty; true if it was not.
    bool dirty() {
      const bool was = (mstatus & 0x6000) == 0x6000;
      mstatus |= 0x80006000;
      return !was;
    }
  };

  void take(size_t number, const uint32_t* w) {
    Core& core = cores[number];
    const uint32_t flags = w[FLAGS], raised = flags & LATE_FLAGS ? flags >> 26 & 31 : 0;
    if (flags & LATE_X) finish(core, TO_X, flags >> 16 & 31, w[LATE_X_VALUE],
                               flags & LATE_F ? 0 : raised);
    if (flags & LATE_F) finish(core, TO_F, flags >> 21 & 31, w[LATE_F_VALUE], raised);
    if (flags & RETIRE) {
      const bool late = (flags & LATE) && (flags & (TO_X | TO_F)) && !(flags & TRAP);
      core.instructions.push_back({flags, w[PC], w[WORD], w[VALUE], w[ADDRESS], w[DATA], 0, late});
    }
    write(number);
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
      if (core.instructions.front().flags & TRAP)
        core.mstatus = (core.mstatus & ~0x88u) | (core.mstatus & 8) << 4;
      else
        print(number, core.instructions.front());
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
    for (const auto& entry : writes) std::fputs(entry.second.c_str(), file);
    if (one.flags & (LOAD | STORE)) std::fprintf(file, " mem 0x%08x", one.address);
    if (one.flags & STORE) {
      const int bits = 8 << (one.word >> 12 & 3);
      const uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
      std::fprintf(file, " 0x%0*x", bits / 4, one.data & mask);
    }
    std::fputc('\n', file);
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
