// Global memory behind AXI4: the subordinate of `m_axi`.
//
// Every address channel is always ready, one beat moves per direction and cycle, the first read
// beat comes `latency` cycles after the AR handshake and B `latency` cycles after the last W beat,
// unless stalls are asked for. Bursts are checked against AXI's rules; an offence throws Failure.
//
// Use per cycle: drive() the inputs, settle the model, sample() its outputs.

#pragma once

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

constexpr uint64_t BUS = XPU_BUS_BYTES;
enum Resp : uint8_t { OKAY = 0, DECERR = 3 };
enum Channel { AR, R, AW, W, B, CHANNELS };
constexpr size_t IDS = 16;
enum Order : uint32_t { IN_ORDER = 0, REORDER = 1, INTERLEAVE = 2 };

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

__attribute__((format(printf, 1, 2))) inline Failure failure(const char* text, ...) {
  char buffer[512];
  va_list list;
  va_start(list, text);
  vsnprintf(buffer, sizeof buffer, text, list);
  va_end(list);
  return Failure(buffer);
}

extern "C" {
// Layouts known to sim/native.py.
struct XpuOptions {
  uint8_t* memory;
  uint64_t memory_bytes;
  uint64_t latency;
  uint32_t stall[CHANNELS];  // probability of a stall in a cycle, scaled to 2**32
  uint32_t order;
  uint64_t seed;
  int32_t randomize;  // seed of a random initial state, or negative for zeros
  int32_t record_activity;
};
struct XpuCounters {
  uint64_t cycles, read_beats, write_beats, read_bursts, write_bursts, dropped, vector_issues;
};
// Data beats transferred, and the cycles of the first and the last of them.
struct XpuBeats {
  uint64_t count, first, last;
};
}

// First in, first out, without a limit.
template <class T>
class Fifo {
 public:
  bool empty() const { return head == tail; }
  size_t size() const { return tail - head; }
  T& operator[](size_t i) { return slots[(head + i) & (slots.size() - 1)]; }
  T& front() { return (*this)[0]; }
  void push(const T& value) {
    if (size() == slots.size()) grow();
    slots[tail++ & (slots.size() - 1)] = value;
  }
  void pop() { ++head; }
  void erase(size_t i) {  // keeps the order of the others
    for (; i > 0; --i) (*this)[i] = (*this)[i - 1];
    pop();
  }
  void clear() { head = tail = 0; }

 private:
  void grow() {
    std::vector<T> larger(slots.size() * 2);
    const size_t count = size();
    for (size_t i = 0; i < count; ++i) larger[i] = (*this)[i];
    slots.swap(larger);
    head = 0;
    tail = count;
  }
  std::vector<T> slots = std::vector<T>(16);
  size_t head = 0, tail = 0;
};

// A channel that was offered and not accepted must offer the same again.
class StallCheck {
 public:
  struct Offer {
    uint64_t words[3 + BUS / 8];
  };
  bool held = false;

  void check(bool valid, bool ready, const Offer& offer, const char* channel, uint64_t now) {
    if (held && !(valid && !std::memcmp(&offer, &before, sizeof offer)))
      throw failure("AXI: %s was %s while it was stalled, in cycle %llu", channel,
                    valid ? "changed" : "withdrawn", (unsigned long long)now);
    held = valid && !ready;
    if (held) before = offer;
  }

 private:
  Offer before{};
};

template <class Top>
class AxiMemory {
 public:
  struct Fault {
    uint64_t begin, end;
    int64_t count;  // beats it still hits; negative: for ever
    uint8_t resp;
    bool write;
  };

  AxiMemory(const XpuOptions& o, XpuCounters& c)
      : options(o), counters(c), random(o.seed * 2 + 0x9e3779b97f4a7c15ull) {
    for (uint32_t probability : o.stall) stalls |= probability != 0;
  }

  std::vector<Fault> faults;
  XpuBeats beats[IDS + 1] = {};  // reads by ID, then all writes

  // Bursts and responses in flight are void.
  void reset() {
    reads.clear();
    writes.clear();
    early.clear();
    responses.clear();
    ar_ready = aw_ready = w_ready = true;
    r_valid = b_valid = in_burst = false;
    ar_check.held = aw_check.held = w_check.held = false;
  }

  void drive(Top& t) {
    t.m_axi_arready = ar_ready;
    t.m_axi_awready = aw_ready;
    t.m_axi_wready = w_ready;
    t.m_axi_rvalid = r_valid;
    if (r_valid) {
      std::memcpy(&t.m_axi_rdata, r_data, BUS);
      t.m_axi_rid = r_id;
      t.m_axi_rresp = r_resp;
      t.m_axi_rlast = r_last;
    }
    t.m_axi_bvalid = b_valid;
    t.m_axi_bid = b_id;
    t.m_axi_bresp = b_resp;
  }

  // Handshakes of cycle `now`, and what is presented in the next.
  void sample(Top& t, uint64_t now) {
    if (t.m_axi_arvalid || ar_check.held) read_address(t, now);
    if (t.m_axi_awvalid || aw_check.held) write_address(t, now);
    if (t.m_axi_wvalid || w_check.held) write_data(t, now);
    if (r_valid && t.m_axi_rready) {
      r_valid = false;
      count(beats[r_id], now);
    }
    if (!r_valid && !reads.empty()) next_read_beat(now);
    if (b_valid && t.m_axi_bready) b_valid = false;
    if (!b_valid && !responses.empty()) next_response(now);
    if (stalls) {
      ar_ready = !stall(AR);
      aw_ready = !stall(AW);
      w_ready = !stall(W);
    }
  }

 private:
  struct Burst {
    uint64_t addr;   // of the next beat, aligned to the bus
    uint64_t ready;  // reads: cycle of the first beat
    uint32_t beats;  // left
    uint8_t id;
    uint8_t resp;  // writes: worst so far
    bool plain;    // inside the memory, and no fault is set: nothing to check per beat
  };
  struct WriteBeat {
    uint8_t data[BUS];
    uint64_t strobe;
    bool last;
  };
  struct Response {
    uint64_t ready;
    uint8_t id, resp;
  };

  uint32_t next_random() {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return uint32_t(random >> 16);
  }
  static void count(XpuBeats& beats, uint64_t now) {
    if (!beats.count++) beats.first = now;
    beats.last = now;
  }
  bool stall(Channel channel) { return next_random() < options.stall[channel]; }

  Burst burst(const char* kind, uint64_t addr, uint32_t len, uint32_t size, uint32_t type,
              uint8_t id, uint64_t now) {
    const uint32_t beats = len + 1;
    const uint64_t first = addr & ~(BUS - 1), end = first + beats * BUS;
    const char* offence = nullptr;
    if ((1u << size) != BUS) offence = "a size other than the bus";
    if (type != 1) offence = "a type other than INCR";
    if ((addr >> 12) != ((end - 1) >> 12)) offence = "a crossing of a 4 KiB boundary";
    if (offence)
      throw failure("AXI: %s burst with %s at %#llx, %u beats, in cycle %llu", kind, offence,
                    (unsigned long long)addr, beats, (unsigned long long)now);
    const bool inside = end <= options.memory_bytes && first < end;
    return {first, now + options.latency, beats, id, OKAY, inside && faults.empty()};
  }

  // Response for one beat of a burst that is not plain.
  uint8_t respond(uint64_t addr, bool write) {
    for (Fault& fault : faults) {
      if (fault.write != write || fault.count == 0) continue;
      if (addr + BUS <= fault.begin || addr >= fault.end) continue;
      if (fault.count > 0) --fault.count;
      return fault.resp;
    }
    return addr < options.memory_bytes && options.memory_bytes - addr >= BUS ? OKAY : DECERR;
  }

  // One of the queue that is due, at random among the oldest of each ID; 0 if none is.
  template <class T>
  size_t pick(Fifo<T>& queue, uint64_t now) {
    size_t chosen = 0, due = 0;
    uint32_t seen = 0;
    for (size_t i = 0; i < queue.size(); ++i) {
      const uint32_t bit = 1u << (queue[i].id & 31);
      if (!(seen & bit) && queue[i].ready <= now + 1 && next_random() % ++due == 0) chosen = i;
      seen |= bit;
    }
    return chosen;
  }

  void read_address(Top& t, uint64_t now) {
    const typename StallCheck::Offer offer{
        {t.m_axi_araddr, uint64_t(t.m_axi_arlen) << 8 | t.m_axi_arid}};
    ar_check.check(t.m_axi_arvalid, ar_ready, offer, "AR", now);
    if (!t.m_axi_arvalid || !ar_ready) return;
    reads.push(burst("read", t.m_axi_araddr, t.m_axi_arlen, t.m_axi_arsize, t.m_axi_arburst,
                     t.m_axi_arid, now));
    ++counters.read_bursts;
  }

  void next_read_beat(uint64_t now) {
    // A burst that has begun goes on, unless interleaving.
    if (options.order == IN_ORDER) picked = 0;
    else if (!in_burst) picked = pick(reads, now);
    Burst& read = reads[picked];
    if (read.ready > now + 1 || (stalls && stall(R))) return;
    r_resp = read.plain ? uint8_t(OKAY) : respond(read.addr, false);
    if (r_resp == OKAY) std::memcpy(r_data, options.memory + read.addr, BUS);
    else std::memset(r_data, 0xbd, BUS);
    read.addr += BUS;
    r_id = read.id;
    r_last = --read.beats == 0;
    r_valid = true;
    ++counters.read_beats;
    in_burst = !r_last && options.order != INTERLEAVE;
    if (r_last) reads.erase(picked);
  }

  void write_address(Top& t, uint64_t now) {
    const typename StallCheck::Offer offer{
        {t.m_axi_awaddr, uint64_t(t.m_axi_awlen) << 8 | t.m_axi_awid}};
    aw_check.check(t.m_axi_awvalid, aw_ready, offer, "AW", now);
    if (!t.m_axi_awvalid || !aw_ready) return;
    writes.push(burst("write", t.m_axi_awaddr, t.m_axi_awlen, t.m_axi_awsize, t.m_axi_awburst,
                      t.m_axi_awid, now));
    ++counters.write_bursts;
    for (; !early.empty() && !writes.empty(); early.pop()) store(early.front(), now);
  }

  void write_data(Top& t, uint64_t now) {
    WriteBeat beat;
    std::memcpy(beat.data, &t.m_axi_wdata, BUS);
    beat.strobe = t.m_axi_wstrb;
    beat.last = t.m_axi_wlast;
    if (w_check.held || !w_ready) {
      typename StallCheck::Offer offer{{beat.strobe, beat.last}};
      std::memcpy(&offer.words[2], beat.data, BUS);
      w_check.check(t.m_axi_wvalid, w_ready, offer, "W", now);
    }
    if (!t.m_axi_wvalid || !w_ready) return;
    ++counters.write_beats;
    count(beats[IDS], now);
    if (writes.empty()) early.push(beat);  // data may come before its address
    else store(beat, now);
  }

  void store(const WriteBeat& beat, uint64_t now) {
    Burst& write = writes.front();
    const uint8_t resp = write.plain ? uint8_t(OKAY) : respond(write.addr, true);
    write.resp = std::max(write.resp, resp);
    if (resp == OKAY) {
      constexpr uint64_t ALL = ~uint64_t(0) >> (64 - BUS);
      uint8_t* target = options.memory + write.addr;
      if (beat.strobe == ALL) std::memcpy(target, beat.data, BUS);
      else
        for (uint64_t i = 0; i < BUS; ++i)
          if (beat.strobe >> i & 1) target[i] = beat.data[i];
    }
    const bool last = --write.beats == 0;
    if (last != beat.last)
      throw failure("AXI: WLAST is %d at %#llx with %u beats left, in cycle %llu", beat.last,
                    (unsigned long long)write.addr, write.beats, (unsigned long long)now);
    write.addr += BUS;
    if (!last) return;
    responses.push({now + options.latency, write.id, write.resp});
    writes.pop();
  }

  void next_response(uint64_t now) {
    const size_t next = options.order == IN_ORDER ? 0 : pick(responses, now);
    if (responses[next].ready > now + 1 || (stalls && stall(B))) return;
    b_id = responses[next].id;
    b_resp = responses[next].resp;
    b_valid = true;
    responses.erase(next);
  }

  const XpuOptions& options;
  XpuCounters& counters;
  uint64_t random;
  bool stalls = false;

  bool ar_ready = true, aw_ready = true, w_ready = true;
  bool r_valid = false, r_last = false, b_valid = false, in_burst = false;
  uint8_t r_id = 0, r_resp = 0, b_id = 0, b_resp = 0;
  uint8_t r_data[BUS] = {};
  size_t picked = 0;
  Fifo<Burst> reads, writes;
  Fifo<WriteBeat> early;
  Fifo<Response> responses;
  StallCheck ar_check, aw_check, w_check;
};
