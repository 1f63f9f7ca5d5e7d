#include "offset/cuda/emulated_device.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace unlearn {
namespace emulated {
namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kStackBytes = 256 << 10;

// A thread of a block. Its stack and its loop outlive the block: only the first entry costs a
// system call.
struct Fiber {
  Place place;
  unsigned index = 0;  // within the block
  bool done = true;
  int64_t block_barriers = 0;
  int64_t warp_barriers = 0;
  bool waits_for_block = false;
  bool waits_for_warp = false;
  uint64_t exchanged[2] = {};  // by parity: a thread is at most one shuffle ahead of its warp
  int64_t exchanges = 0;
  std::unique_ptr<char[]> stack;
  ucontext_t context;
  jmp_buf resume;
  bool started = false;
};

// One at a time in each thread of the process.
struct Device {
  std::vector<std::unique_ptr<Fiber>> fibers;
  unsigned live = 0;  // fibers of the block that runs
  Fiber* current = nullptr;
  const std::function<void()>* kernel = nullptr;
  std::vector<unsigned char> shared;
  ucontext_t scheduler_context;
  jmp_buf scheduler;
};
thread_local Device device;

void ToScheduler() {
  Fiber* const fiber = device.current;
  if (_setjmp(fiber->resume) == 0) _longjmp(device.scheduler, 1);
}

void FiberLoop() {
  while (true) {
    (*device.kernel)();
    device.current->done = true;
    ToScheduler();
  }
}

void Resume(Fiber* fiber) {
  device.current = fiber;
  if (_setjmp(device.scheduler) != 0) return;
  if (fiber->started) _longjmp(fiber->resume, 1);
  fiber->started = true;
  fiber->stack.reset(new char[kStackBytes]);
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack.get();
  fiber->context.uc_stack.ss_size = kStackBytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, FiberLoop, 0);
  setcontext(&fiber->context);
}

bool CanGoOn(const Fiber& fiber) {
  const bool by_warp = fiber.waits_for_warp;
  if (!by_warp && !fiber.waits_for_block) return true;
  const unsigned begin = by_warp ? fiber.index / kWarp * kWarp : 0;
  const unsigned end = by_warp ? std::min(begin + kWarp, device.live) : device.live;
  for (unsigned i = begin; i < end; ++i) {
    const Fiber& other = *device.fibers[i];
    if (other.done) continue;
    if (by_warp ? other.warp_barriers < fiber.warp_barriers
                : other.block_barriers < fiber.block_barriers) {
      return false;
    }
  }
  return true;
}

void RunBlock(Dim grid, Dim block, Dim index) {
  // What a kernel reads before it has written is not a number.
  std::fill(device.shared.begin(), device.shared.end(), 0xFF);
  device.live = block.x * block.y * block.z;
  while (device.fibers.size() < device.live) device.fibers.push_back(std::make_unique<Fiber>());
  for (unsigned i = 0; i < device.live; ++i) {
    Fiber& fiber = *device.fibers[i];
    fiber.place = {
        {i % block.x, i / block.x % block.y, i / (block.x * block.y)}, index, block, grid};
    fiber.index = i;
    fiber.done = false;
    fiber.waits_for_block = fiber.waits_for_warp = false;
    fiber.block_barriers = fiber.warp_barriers = fiber.exchanges = 0;
  }
  // Every second round backwards, so that an order on which a kernel must not rely shows.
  bool backwards = false;
  for (unsigned left = device.live; left > 0; backwards = !backwards) {
    bool moved = false;
    for (unsigned i = 0; i < device.live; ++i) {
      Fiber& fiber = *device.fibers[backwards ? device.live - 1 - i : i];
      if (fiber.done || !CanGoOn(fiber)) continue;
      fiber.waits_for_block = fiber.waits_for_warp = false;
      Resume(&fiber);
      moved = true;
      if (fiber.done) --left;
    }
    if (!moved) {
      fprintf(stderr, "a kernel's threads wait at different barriers\n");
      abort();
    }
  }
}

}  // namespace

const Place& Here() { return device.current->place; }
void* SharedMemory() { return device.shared.data(); }
unsigned LaneOfThis() { return device.current->index % kWarp; }

void BlockBarrier() {
  ++device.current->block_barriers;
  device.current->waits_for_block = true;
  ToScheduler();
}

void WarpBarrier() {
  ++device.current->warp_barriers;
  device.current->waits_for_warp = true;
  ToScheduler();
}

uint64_t Exchange(uint64_t bits, unsigned lane) {
  Fiber& self = *device.current;
  const unsigned other = self.index / kWarp * kWarp + lane;
  if (lane >= kWarp || other >= device.live) {
    fprintf(stderr, "a shuffle reads lane %u, which the warp does not have\n", lane);
    abort();
  }
  const int parity = static_cast<int>(self.exchanges++ & 1);
  self.exchanged[parity] = bits;
  WarpBarrier();
  if (device.fibers[other]->exchanges < self.exchanges) {
    fprintf(stderr, "a shuffle reads a thread that takes no part in it\n");
    abort();
  }
  return device.fibers[other]->exchanged[parity];
}

void Run(Dim grid, Dim block, size_t shared_bytes, const std::function<void()>& kernel) {
  if (block.x * block.y * block.z > 1024 || shared_bytes > (48 << 10) || grid.y > 65535 ||
      grid.z > 65535 || grid.x * grid.y * grid.z == 0 || block.x * block.y * block.z == 0) {
    fprintf(stderr, "a launch that CUDA would refuse: grid %u %u %u, block %u %u %u, shared %zu\n",
            grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes);
    abort();
  }
  device.kernel = &kernel;
  device.shared.resize(shared_bytes);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) RunBlock(grid, block, {x, y, z});
    }
  }
}

}  // namespace emulated
}  // namespace unlearn
