// The emulated accelerator: blocks of real threads with barriers run the same kernel text as a GPU would. Its memory
// is its own: a host pointer is never a device address, so code that forgets an upload fails here, not on a GPU.
//
// One team of threads lives as long as the device and runs a launch's blocks one after another. The calling thread
// is thread 0 of the team.
#include <stdlib.h>
#include <string.h>

#include "../core/pool.h"
#include "../core/posix.h"
#include "../device/dialect_emu.h"
#include "backends.h"
#include "host_memory.h"
#include "kernel_table.h"

extern const bw_kernel_table bw_emu_kernels;

// A barrier of `size` threads (macOS has no pthread_barrier_t).
typedef struct emu_team {
  pthread_mutex_t mutex;
  pthread_cond_t turned;
  int size, waiting;
  unsigned turn;
  float scratch[BW_EMU_MAX_THREADS];
} emu_team;

typedef struct emu_device emu_device;

typedef struct emu_worker {
  emu_device* device;
  pthread_t handle;
  int thread;
} emu_worker;

struct emu_device {
  bw_host_device host;
  emu_team team;
  emu_worker workers[BW_EMU_MAX_THREADS];
  int blocks, threads, started;
  // the launch in progress, published by the barrier
  bw_kernel kernel;
  const void* args;
  bool quit;
};

void bw_emu_barrier(void* context) {
  emu_team* team = context;
  pthread_mutex_lock(&team->mutex);
  const unsigned turn = team->turn;
  if (++team->waiting == team->size) {
    team->waiting = 0;
    ++team->turn;
    pthread_cond_broadcast(&team->turned);
  } else {
    while (team->turn == turn) pthread_cond_wait(&team->turned, &team->mutex);
  }
  pthread_mutex_unlock(&team->mutex);
}

float* bw_emu_scratch(void* team) { return ((emu_team*)team)->scratch; }

static void run_blocks(emu_device* emu, int thread) {
  for (int64_t block = 0; block < emu->blocks; ++block) {
    const bw_kernel_context context = {.buffers = emu->host.buffers,
                                       .block = block,
                                       .blocks = emu->blocks,
                                       .thread = thread,
                                       .threads = emu->threads,
                                       .team = &emu->team};
    emu->kernel(emu->args, &context);
  }
}

static void* worker_main(void* argument) {
  emu_worker* worker = argument;
  emu_device* emu = worker->device;
  for (;;) {
    bw_emu_barrier(&emu->team);  // a launch begins
    if (emu->quit) return NULL;
    run_blocks(emu, worker->thread);
    bw_emu_barrier(&emu->team);  // and has ended
  }
}

static void emu_launch(bw_device* device, bw_op op, const void* args, bw_cost cost) {
  (void)cost;
  emu_device* emu = (emu_device*)device;
  emu->kernel = bw_find_kernel(&bw_emu_kernels, op, args);
  emu->args = args;
  bw_emu_barrier(&emu->team);
  run_blocks(emu, 0);
  bw_emu_barrier(&emu->team);
}

// ---- life ----

static void emu_destroy(bw_device* device) {
  emu_device* emu = (emu_device*)device;
  emu->quit = true;
  pthread_mutex_lock(&emu->team.mutex);
  emu->team.size = emu->started + 1;  // fewer than planned when creation failed half-way
  pthread_mutex_unlock(&emu->team.mutex);
  bw_emu_barrier(&emu->team);
  for (int i = 1; i <= emu->started; ++i) pthread_join(emu->workers[i].handle, NULL);
  pthread_cond_destroy(&emu->team.turned);
  pthread_mutex_destroy(&emu->team.mutex);
  bw_host_free_all(device);
  free(emu);
}

static const bw_backend kEmuBackend = {
    .name = "emu",
    .real_bytes = 4,
    BW_HOST_MEMORY,
    .launch = emu_launch,
    .destroy = emu_destroy,
};

bw_status bw_emu_device_create(int blocks, int threads, bw_device** device, bw_error* error) {
  if (blocks < 1 || threads < 1 || threads > BW_EMU_MAX_THREADS) {
    return bw_fail_option(error, "device.create", "threads", "out of range", "at least one block, 1 to 64 threads");
  }
  emu_device* emu = calloc(1, sizeof *emu);
  if (!emu) return bw_fail_memory(error, "device.create", "the emulated device", sizeof *emu, 0);
  emu->host.base.backend = &kEmuBackend;
  emu->host.base.threads = threads;
  emu->blocks = blocks;
  emu->threads = threads;
  emu->team.size = threads;
  pthread_mutex_init(&emu->team.mutex, NULL);
  pthread_cond_init(&emu->team.turned, NULL);
  for (int i = 1; i < threads; ++i) {
    emu->workers[i] = (emu_worker){.device = emu, .thread = i};
    if (pthread_create(&emu->workers[i].handle, NULL, worker_main, &emu->workers[i]) != 0) {
      emu_destroy(&emu->host.base);
      return bw_fail_thread(error, "device.create", i + 1, threads);
    }
    emu->started = i;
  }
  *device = &emu->host.base;
  return BW_OK;
}
