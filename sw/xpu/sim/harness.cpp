// The loop around the Verilated model: clock, register port, memory, traces, waves; and its C
// interface for sim/native.py.
//
// One cycle is: drive the inputs (functions of the state here alone), settle with the clock low,
// sample the outputs, update the state here, rising edge. Python enters only for whole runs.

#include <chrono>
#include <memory>

#include "Vxpu.h"
#include "axi_memory.h"
#include "commit_log.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_fst_c.h"
#endif

extern "C" {
// Layouts known to sim/native.py.
struct XpuEvent {
  uint64_t begin, end;
  uint32_t engine, index;
};
struct XpuActivity {
  uint64_t begin;
  uint32_t engine, activity;
};
}
static_assert(sizeof(XpuEvent) == 24 && sizeof(XpuActivity) == 16 && sizeof(XpuCounters) == 56 &&
              sizeof(XpuBeats) == 24);

namespace {

constexpr uint32_t ENGINES = 8;  // places in the obs_* ports, numbered as Engine
constexpr size_t TRACE_LIMIT = size_t(1) << 22;  // records kept until Python takes them
constexpr int REGISTER_PATIENCE = 10000;         // cycles
enum Status : int { DONE = 0, IRQ = 1, FAILED = 2, PAUSED = 3, STORED = 4 };

thread_local std::string stopped;  // why the model wants to stop

// Commands and activity of the engines.
class Recorder {
 public:
  std::vector<XpuEvent> events;
  std::vector<XpuActivity> activities;

  Recorder(bool activity, XpuCounters& c) : record_activity(activity), counters(c) {}

  void reset() {
    for (auto& queue : begun) queue.clear();
  }
  // Let the next cycle record the activity of every engine.
  void restart_activity() { last_activity = ~uint64_t(0); }

  void sample(Vxpu& t, uint64_t now) {
    if (t.obs_activity != last_activity && record_activity) change(t.obs_activity, now);
    if (t.obs_begin)
      for (uint32_t engine = 0; engine < ENGINES; ++engine)
        if (t.obs_begin >> engine & 1) begun[engine].push({now, t.obs_index[engine]});
    if (t.obs_done)
      for (uint32_t engine = 0; engine < ENGINES; ++engine)
        if (t.obs_done >> engine & 1) finish(engine, now);
    if (!t.obs_active) reset();  // nothing runs: what has not ended was reset
  }

 private:
  struct Begun {
    uint64_t cycle;
    uint32_t index;
  };

  void change(uint64_t activity, uint64_t now) {
    for (uint32_t engine = 0; engine < ENGINES; ++engine) {
      const uint32_t mine = activity >> 8 * engine & 0xff;
      if (mine == (last_activity >> 8 * engine & 0xff)) continue;
      if (activities.size() < TRACE_LIMIT) activities.push_back({now, engine, mine});
      else ++counters.dropped;
    }
    last_activity = activity;
  }

  void finish(uint32_t engine, uint64_t now) {
    if (begun[engine].empty()) return;
    const Begun command = begun[engine].front();
    begun[engine].pop();
    if (events.size() < TRACE_LIMIT) events.push_back({command.cycle, now, engine, command.index});
    else ++counters.dropped;
  }

  bool record_activity;
  XpuCounters& counters;
  Fifo<Begun> begun[ENGINES];
  uint64_t last_activity = ~uint64_t(0);
};

}  // namespace

class Device {
 public:
  explicit Device(const XpuOptions& o)
      : options(o), memory(options, counters), recorder(o.record_activity, counters),
        context(new VerilatedContext) {
    context->fatalOnError(false);
    context->randReset(o.randomize < 0 ? 0 : 2);
    if (o.randomize >= 0) context->randSeed(o.randomize + 1);
#if VM_TRACE
    context->traceEverOn(true);
#endif
    enter();
    top.reset(new Vxpu(context.get(), "xpu"));
    reset(4);
  }
  ~Device() {
    enter();
    stop_waves();
    top->final();
  }

  // Calls may come from any thread, one at a time.
  void enter() {
    Verilated::threadContextp(context.get());
    stopped.clear();
  }

  void reset(int length) {
    memory.reset();
    recorder.reset();
    top->s_axil_arvalid = top->s_axil_rready = 0;
    top->s_axil_awvalid = top->s_axil_wvalid = top->s_axil_bready = 0;
    top->rst = 1;
    for (int i = 0; i < length; ++i) {
      settle();
      edge();
    }
    top->rst = 0;
  }

  // Until the interrupt, or until a SIMD core has stored something at `watched`, if it is not null.
  int run(uint64_t max_cycles, double max_seconds, uint64_t* ran,
          const uint32_t* watched = nullptr, uint32_t* stored = nullptr) {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    for (uint64_t n = 0;; ++n) {
      *ran = n;
      settle();
      if (top->irq) return IRQ;
      if (n == max_cycles) return DONE;
      if ((n & 255) == 255 &&
          std::chrono::duration<double>(Clock::now() - begin).count() > max_seconds)
        return PAUSED;
      const bool found = watched && CommitLog::stores(observed(), XPU_CORES, *watched, stored);
      commit();
      if (found) {
        *ran = n + 1;
        return STORED;
      }
    }
  }

  uint32_t read_register(uint32_t offset, uint32_t* value) {
    top->s_axil_araddr = offset;
    top->s_axil_arvalid = 1;
    top->s_axil_rready = 1;
    for (int n = 0; n < REGISTER_PATIENCE; ++n) {
      settle();
      const bool accepted = top->s_axil_arready, answered = top->s_axil_rvalid;
      const uint32_t resp = top->s_axil_rresp;
      if (answered) *value = top->s_axil_rdata;
      commit();
      if (accepted) top->s_axil_arvalid = 0;
      if (answered) {
        top->s_axil_rready = 0;
        return resp;
      }
    }
    throw failure("register read at %#x: no answer in %d cycles", offset, REGISTER_PATIENCE);
  }

  uint32_t write_register(uint32_t offset, uint32_t value) {
    top->s_axil_awaddr = offset;
    top->s_axil_wdata = value;
    top->s_axil_wstrb = 0xf;
    top->s_axil_awvalid = top->s_axil_wvalid = top->s_axil_bready = 1;
    for (int n = 0; n < REGISTER_PATIENCE; ++n) {
      settle();
      const bool address = top->s_axil_awready, data = top->s_axil_wready;
      const bool answered = top->s_axil_bvalid;
      const uint32_t resp = top->s_axil_bresp;
      commit();
      if (address) top->s_axil_awvalid = 0;
      if (data) top->s_axil_wvalid = 0;
      if (answered) {
        top->s_axil_bready = 0;
        return resp;
      }
    }
    throw failure("register write at %#x: no answer in %d cycles", offset, REGISTER_PATIENCE);
  }

  void start_waves(const char* path) {
#if VM_TRACE
    stop_waves();
    waves.reset(new VerilatedFstC);
    top->trace(waves.get(), 99);
    waves->open(path);
    if (waves->isOpen()) return;
    waves.reset();
    throw failure("cannot write waves to %s", path);
#else
    throw failure("cannot write waves to %s: this model was built without them", path);
#endif
  }
  void stop_waves() {
#if VM_TRACE
    if (waves) waves->close();
    waves.reset();
#endif
  }

  void start_log(const char* path, const char* names) {
    log.reset();
    log.reset(new CommitLog(path, names, XPU_CORES));
  }
  void stop_log() { log.reset(); }

  XpuOptions options;
  XpuCounters counters{};
  AxiMemory<Vxpu> memory;
  Recorder recorder;
  std::string error;

 private:
  void settle() {
    memory.drive(*top);
    top->clk = 0;
    top->eval();
  }
  void commit() {
    memory.sample(*top, counters.cycles);
    recorder.sample(*top, counters.cycles);
    if (log) log->sample(observed());
    counters.vector_issues += CommitLog::issues(observed(), XPU_CORES);
    edge();
  }
  const uint32_t* observed() const {
#if XPU_CORES
    return top->obs_cores.data();
#else
    return nullptr;
#endif
  }
  void edge() {
#if VM_TRACE
    if (waves) waves->dump(counters.cycles * 2);
#endif
    top->clk = 1;
    top->eval();
#if VM_TRACE
    if (waves) waves->dump(counters.cycles * 2 + 1);
#endif
    ++counters.cycles;
    if (context->gotFinish()) {
      context->gotFinish(false);
      throw failure("%s, in cycle %llu", stopped.empty() ? "the model stopped" : stopped.c_str(),
                    (unsigned long long)counters.cycles - 1);
    }
  }

  std::unique_ptr<VerilatedContext> context;
  std::unique_ptr<CommitLog> log;
  std::unique_ptr<Vxpu> top;
#if VM_TRACE
  std::unique_ptr<VerilatedFstC> waves;
#endif
};

// Verilator's run time calls these; its own would end the process.
void vl_fatal(const char* file, int line, const char*, const char* message) {
  stopped = std::string(file ? file : "model") + ":" + std::to_string(line) + ": " + message;
  Verilated::threadContextp()->gotFinish(true);
}
void vl_stop(const char* file, int line, const char* scope) {
  vl_fatal(file, line, scope, "an assertion failed, or $stop was called");
}
void vl_finish(const char* file, int line, const char* scope) {
  vl_fatal(file, line, scope, "$finish was called");
}

#define XPU_API extern "C" __attribute__((visibility("default")))

// Run `action`, and keep what it throws for `xpu_error`.
template <class Action>
static int guarded(Device* device, Action action) {
  try {
    device->enter();
    return action();
  } catch (const std::exception& caught) {
    device->error = caught.what();
    return FAILED;
  }
}

// Copy at most `room` records and forget them all; without a target only count them.
template <class Record>
static uint64_t take(std::vector<Record>& records, Record* into, uint64_t room) {
  if (into == nullptr) return records.size();
  const uint64_t count = std::min<uint64_t>(records.size(), room);
  std::copy_n(records.begin(), count, into);
  records.clear();
  return count;
}

XPU_API Device* xpu_open(const XpuOptions* options) {
  try {
    return new Device(*options);
  } catch (const std::exception&) {
    return nullptr;
  }
}
XPU_API void xpu_close(Device* device) { delete device; }
XPU_API const char* xpu_error(Device* device) { return device->error.c_str(); }

XPU_API int xpu_run(Device* device, uint64_t max_cycles, double max_seconds, uint64_t* ran) {
  return guarded(device, [&] { return device->run(max_cycles, max_seconds, ran); });
}
XPU_API int xpu_run_until_store(Device* device, uint64_t max_cycles, double max_seconds,
                                uint32_t address, uint64_t* ran, uint32_t* value) {
  return guarded(device, [&] {
    return device->run(max_cycles, max_seconds, ran, &address, value);
  });
}
XPU_API int xpu_read_register(Device* device, uint32_t offset, uint32_t* value, uint32_t* resp) {
  return guarded(device, [&] { return *resp = device->read_register(offset, value), DONE; });
}
XPU_API int xpu_write_register(Device* device, uint32_t offset, uint32_t value, uint32_t* resp) {
  return guarded(device, [&] { return *resp = device->write_register(offset, value), DONE; });
}
XPU_API int xpu_reset(Device* device, int cycles) {
  return guarded(device, [&] { return device->reset(cycles), DONE; });
}
XPU_API void xpu_counters(Device* device, XpuCounters* counters) { *counters = device->counters; }
// Copy the beats counted since the last call, IDS + 1 records, and begin anew.
XPU_API void xpu_take_beats(Device* device, XpuBeats* into) {
  std::copy_n(device->memory.beats, IDS + 1, into);
  std::fill_n(device->memory.beats, IDS + 1, XpuBeats{});
}

XPU_API void xpu_add_fault(Device* device, uint64_t begin, uint64_t end, int write, int resp,
                           int64_t count) {
  device->memory.faults.push_back({begin, end, count, uint8_t(resp), write != 0});
}
XPU_API void xpu_clear_faults(Device* device) { device->memory.faults.clear(); }

XPU_API uint64_t xpu_take_events(Device* device, XpuEvent* into, uint64_t room) {
  return take(device->recorder.events, into, room);
}
XPU_API uint64_t xpu_take_activities(Device* device, XpuActivity* into, uint64_t room) {
  if (into != nullptr) device->recorder.restart_activity();
  return take(device->recorder.activities, into, room);
}

XPU_API int xpu_start_log(Device* device, const char* path, const char* names) {
  return guarded(device, [&] { return device->start_log(path, names), DONE; });
}
XPU_API int xpu_stop_log(Device* device) {
  return guarded(device, [&] { return device->stop_log(), DONE; });
}

XPU_API int xpu_start_waves(Device* device, const char* path) {
  return guarded(device, [&] { return device->start_waves(path), DONE; });
}
XPU_API int xpu_stop_waves(Device* device) {
  return guarded(device, [&] { return device->stop_waves(), DONE; });
}
