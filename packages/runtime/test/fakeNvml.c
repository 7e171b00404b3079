/*
 * The functions of NVIDIA's management library that are called, over two GPUs whose state never changes: the first is
 * whole, the second partitioned into two instances. Built by Nvml.test.ts.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct { const char *uuid; const char *name; uint64_t total, used; int partitioned; int parent; } device;
static device devices[] = {
  { "GPU-aaaa", "Fake H100", 80ull << 30, 30ull << 30, 0, -1 },
  { "GPU-bbbb", "Fake A100", 40ull << 30, 5ull << 30, 1, -1 },
  { "MIG-b-1", "Fake A100 MIG 3g.20gb", 20ull << 30, 4ull << 30, 0, 1 },
  { "MIG-b-2", "Fake A100 MIG 3g.20gb", 20ull << 30, 1ull << 30, 0, 1 },
};
typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } process;

int nvmlInit_v2(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 3 ? "Not Supported" : "Unknown Error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out) {
  if (index == 2) return 15; /* GPU is lost */
  *out = &devices[index];
  return 0;
}
int nvmlDeviceGetName(device *d, char *out, unsigned size) { snprintf(out, size, "%s", d->name); return 0; }
int nvmlDeviceGetUUID(device *d, char *out, unsigned size) { snprintf(out, size, "%s", d->uuid); return 0; }
int nvmlDeviceGetMemoryInfo(device *d, uint64_t *out) {
  out[0] = d->total; out[1] = d->total - d->used; out[2] = d->used;
  return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *count, process *out) {
  if (d != &devices[0]) return 3;
  /* more than a first guess holds */
  if (*count < 100) { *count = 100; return 7; }
  *count = 100;
  for (unsigned at = 0; at < 100; at++) out[at] = (process){ 1000 + at, 1ull << 20, 0, 0 };
  /* one process with two contexts */
  out[99] = (process){ 1000, 2ull << 30, 0, 0 };
  return 0;
}
int nvmlDeviceGetUtilizationRates(device *d, unsigned *out) { (void)d; out[0] = 37; out[1] = 12; return 0; }
int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *out) { (void)d; *out = sensor == 0 ? 64 : 0; return 0; }
int nvmlDeviceGetPowerUsage(device *d, unsigned *out) { (void)d; *out = 312500; return 0; }
int nvmlDeviceGetTotalEccErrors(device *d, int kind, int counter, unsigned long long *out) {
  if (d != &devices[0]) return 3;
  *out = kind == 1 && counter == 0 ? 2 : 99;
  return 0;
}
int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
  *current = *pending = d->partitioned;
  return d == &devices[0] ? 3 : 0;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *out) { (void)d; *out = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **out) {
  (void)d;
  /* instances need not be at the first places */
  if (index != 1 && index != 4) return 6;
  *out = &devices[index == 1 ? 2 : 3];
  return 0;
}
