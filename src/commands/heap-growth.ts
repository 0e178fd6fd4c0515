import { setFlagsFromString } from 'node:v8';

/**
 * V8 counts the buffers that sockets are read into as growth of its old generation, until a collection of the young one
 * (every 32 MiB of them) has found them dead. By its own measure a heap of 20 MB may then grow by 25 MB: a busy stream
 * has the whole heap collected several times a second, which was half of what it cost. So it may grow to three times.
 */
export const HEAP_GROWTH = '--heap-growing-percent=200';

/** V8 reads this anew after each collection: it may be said to a program that runs. Of no effect with Node 26. */
export function letHeapGrow(): void {
  setFlagsFromString(HEAP_GROWTH);
}
