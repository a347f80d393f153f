// A CUDA driver without a GPU: as much of libcuda.so.1 as Triton calls. Kernels are loaded and launched, and compute nothing.
//
// Faults are planted by environment variables, each the beginning of a kernel's name:
//   SVERTKA_STUB_ILLEGAL   its launch breaks the context, as an illegal access does: every later call fails
//   SVERTKA_STUB_THREADS   it admits one thread a block, so that Triton raises OutOfResources
//   SVERTKA_STUB_HANG      its launch never returns
#include "cuda.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARED_MEMORY 232448 // bytes a block of Hopper may have
#define REGISTERS 65536
#define MULTIPROCESSORS 132
#define KILOHERTZ 1980000
#define BUS_BITS 5120
#define LONGEST 256

typedef struct {
  char name[LONGEST];
} Kernel;

static CUresult state = CUDA_SUCCESS;
static int context, module;

static int planted(const char *variable, const char *name) {
  const char *prefix = getenv(variable);
  return prefix != NULL && *prefix != 0 && strncmp(name, prefix, strlen(prefix)) == 0;
}

// No device for libraries that look for one; the module torch_stand_in answers for PyTorch.
CUresult cuInit(unsigned int flags) { return CUDA_ERROR_NO_DEVICE; }

CUresult cuDriverGetVersion(int *version) {
  *version = 13000;
  return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = error == CUDA_SUCCESS                 ? "no error"
          : error == CUDA_ERROR_ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
                                                : "the stub knows no such error";
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  *device = ordinal;
  return state;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
    *value = SHARED_MEMORY;
    break;
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    *value = REGISTERS;
    break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    *value = MULTIPROCESSORS;
    break;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
    *value = 32;
    break;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
    *value = KILOHERTZ;
    break;
  case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
    *value = BUS_BITS;
    break;
  default:
    *value = 0;
  }
  return state;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *found, CUdevice device) {
  *found = (CUcontext)&context;
  return state;
}

CUresult cuCtxGetCurrent(CUcontext *found) {
  *found = (CUcontext)&context;
  return state;
}

CUresult cuCtxSetCurrent(CUcontext given) { return state; }

CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
  *value = 0;
  return state;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) { return state; }

CUresult cuCtxSynchronize(void) { return state; }

CUresult cuModuleLoadData(CUmodule *found, const void *image) {
  *found = (CUmodule)&module;
  return state;
}

CUresult cuModuleGetFunction(CUfunction *found, CUmodule given, const char *name) {
  Kernel *kernel = calloc(1, sizeof(Kernel)); // a module is never unloaded here
  strncpy(kernel->name, name, LONGEST - 1);
  *found = (CUfunction)kernel;
  return state;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction given) {
  const Kernel *kernel = (const Kernel *)given;
  *value = 0;
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)
    *value = planted("SVERTKA_STUB_THREADS", kernel->name) ? 1 : 1024;
  else if (attribute == CU_FUNC_ATTRIBUTE_NUM_REGS)
    *value = 32;
  return state;
}

CUresult cuFuncSetAttribute(CUfunction given, CUfunction_attribute attribute, int value) { return state; }

CUresult cuFuncSetCacheConfig(CUfunction given, CUfunc_cache config) { return state; }

CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction given, const CUlaunchConfig *config) {
  *clusters = MULTIPROCESSORS;
  return state;
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr pointer) {
  *(CUdeviceptr *)data = pointer;
  return state;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                const cuuint64_t *extents, const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  return state;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction given, void **parameters, void **extra) {
  const Kernel *kernel = (const Kernel *)given;
  if (state != CUDA_SUCCESS)
    return state;
  while (planted("SVERTKA_STUB_HANG", kernel->name))
    pause();
  if (planted("SVERTKA_STUB_ILLEGAL", kernel->name))
    state = CUDA_ERROR_ILLEGAL_ADDRESS; // the launch itself succeeds, as on a GPU
  return CUDA_SUCCESS;
}
