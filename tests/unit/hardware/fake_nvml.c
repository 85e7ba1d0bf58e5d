/* A library that answers as NVML does, for two cards. Tests say by `fake_` functions what goes wrong in it. */

#include <stdio.h>
#include <string.h>

static int init_code, count_code, lost = -1, without_memory = -1, opened;
static unsigned long long free_bytes = 8ULL << 30;

void fake_reset(void) { init_code = count_code = opened = 0; lost = without_memory = -1; free_bytes = 8ULL << 30; }
void fake_init(int code) { init_code = code; }
void fake_count(int code) { count_code = code; }
void fake_lost(int card) { lost = card; }
void fake_without_memory(int card) { without_memory = card; }
void fake_free(unsigned long long bytes) { free_bytes = bytes; }
int fake_opened(void) { return opened; }

int nvmlInit_v2(void) { opened += init_code == 0; return init_code; }
int nvmlShutdown(void) { opened--; return 0; }

const char *nvmlErrorString(int code) {
    return code == 15 ? "GPU is lost" : code == 18 ? "Driver/library version mismatch" : "Unknown Error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned int size) { snprintf(text, size, "570.86.15"); return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return count_code; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if ((int)index == lost) return 15;
    *device = (void *)(unsigned long)(index + 1);
    return 0;
}

static int card(void *device) { return (int)(unsigned long)device - 1; }

int nvmlDeviceGetUUID(void *device, char *text, unsigned int size) {
    snprintf(text, size, "GPU-0000000%d-1111-2222-3333-444444444444", card(device));
    return 0;
}

int nvmlDeviceGetName(void *device, char *text, unsigned int size) {
    snprintf(text, size, "Fake Card %d", card(device));
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
    if (card(device) == without_memory) return 3;
    memory[0] = 24ULL << 30;
    memory[1] = free_bytes;
    memory[2] = memory[0] - memory[1];
    return 0;
}

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = 8;
    *minor = 6 + 3 * card(device);
    return 0;
}
