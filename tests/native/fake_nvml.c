/* A libnvidia-ml.so.1 that describes the machine of its environment.
 *
 * FAKE_GPUS: a line for each GPU: name|MiB|major|minor|uuid|bus|island|mig
 * FAKE_SLICES: a line for each MIG slice: index of its GPU|name|MiB|uuid
 * FAKE_MINORS: 1 where GPUs have nodes, which are numbered as the lines stand.
 * FAKE_INIT: what nvmlInit returns; FAKE_LOST: what asking for memory returns.
 * FAKE_DISPLAY: the bus of the GPU that drives a display.
 * A GPU of 0 MiB has no memory of its own.
 * GPUs stand in any order; those of one island reach each other through NVLink; mig is 0, 1, or 2
 * for a card that cannot be sliced.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, MAX = 64 };

typedef struct {
    char name[96], uuid[96];
    unsigned long long mib;
    int major, minor, parent;
    unsigned bus, island, mig;
} device;

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} pci;

typedef struct {
    unsigned long long total, free, used;
} memory;

static device gpus[MAX], slices[MAX];
static unsigned n_gpus, n_slices;

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

static void read_gpus(char *text) {
    for (char *line = strtok(text, "\n"); line && n_gpus < MAX; line = strtok(NULL, "\n")) {
        device *d = &gpus[n_gpus++];
        d->parent = -1;
        if (sscanf(line, "%95[^|]|%llu|%d|%d|%95[^|]|%u|%u|%u", d->name, &d->mib, &d->major,
                   &d->minor, d->uuid, &d->bus, &d->island, &d->mig) != 8)
            abort();
    }
}

static void read_slices(char *text) {
    for (char *line = strtok(text, "\n"); line && n_slices < MAX; line = strtok(NULL, "\n")) {
        device *d = &slices[n_slices++];
        if (sscanf(line, "%d|%95[^|]|%llu|%95[^|]", &d->parent, d->name, &d->mib, d->uuid) != 4)
            abort();
    }
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (number("FAKE_INIT")) return number("FAKE_INIT");
    read_gpus(strdup(getenv("FAKE_GPUS") ? getenv("FAKE_GPUS") : ""));
    read_slices(strdup(getenv("FAKE_SLICES") ? getenv("FAKE_SLICES") : ""));
    return SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = n_gpus;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **found) {
    if (index >= n_gpus) return INVALID;
    *found = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(device *d, pci *found) {
    memset(found, 0, sizeof *found);
    found->bus = d->bus;
    snprintf(found->bus_id, sizeof found->bus_id, "00000000:%02X:00.0", d->bus);
    return SUCCESS;
}

int nvmlDeviceGetName(device *d, char *text, unsigned length) {
    snprintf(text, length, "%s", d->name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(device *d, char *text, unsigned length) {
    snprintf(text, length, "%s", d->uuid);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(device *d, memory *found) {
    if (number("FAKE_LOST")) return number("FAKE_LOST");
    if (!d->mib) return NOT_SUPPORTED; /* It has the memory of its host. */
    found->total = found->free = d->mib << 20;
    found->used = 0;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(device *d, int *major, int *minor) {
    *major = d->major;
    *minor = d->minor;
    return SUCCESS;
}

int nvmlDeviceGetMinorNumber(device *d, unsigned *minor) {
    if (!number("FAKE_MINORS")) return NOT_SUPPORTED;
    *minor = (unsigned)(d - gpus);
    return SUCCESS;
}

int nvmlDeviceGetDisplayActive(device *d, int *active) {
    *active = d->bus == (unsigned)number("FAKE_DISPLAY");
    return SUCCESS;
}

int nvmlDeviceGetP2PStatus(device *a, device *b, int what, int *status) {
    if (what != 2) return INVALID;
    *status = a->island == b->island ? SUCCESS : 5;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    if (d->mig > 1) return NOT_SUPPORTED;
    *current = *pending = d->mig;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) {
    (void)d;
    *count = MAX;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **found) {
    /* The first place is free, as after a slice was taken away. */
    if (index == 0 || index > n_slices || &gpus[slices[index - 1].parent] != d) return NOT_FOUND;
    *found = &slices[index - 1];
    return SUCCESS;
}
