/**
 * Whether a load failed for want of memory, by what the runtime, the driver or the system says of it. Pure.
 *
 * Sources: `bfc_arena.cc` and `allocator.cc` of microsoft/onnxruntime, `cudaGetErrorString`, V8's messages, strerror(3).
 */
const signs =
  /failed to allocate memory|bad.?alloc|bad allocation|out of memory|cannot allocate memory|ENOMEM|array buffer allocation failed|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|VK_ERROR_OUT_OF_(HOST|DEVICE)_MEMORY/i

/** `Failed to allocate memory for requested buffer of size 1073741824` */
const requested = /requested buffer of size (\d+)/i

/** The bytes that were asked for in vain: 0 where the message does not say; undefined: memory was not the matter. */
export const bytesInVain = (message: string): number | undefined =>
  signs.test(message) ? Number(requested.exec(message)?.[1] ?? 0) : undefined
