import { setFlagsFromString } from 'node:v8';

/**
 * V8 counts the buffers that sockets are read into as growth of its old generation, until a collection of the young one
 * (every 32 MiB of them) has found them dead. By its own measure a heap of 11 MB, the daemon's, may then grow by less: a
 * busy stream has the whole heap collected ten times a second, which was a fifth of what it cost. So it may grow by 44 MB.
 */
export const HEAP_GROWTH = '--heap-growing-percent=400';

/** V8 reads this anew after each collection: it may be said to a program that runs. Of no effect with Node 26. */
export function letHeapGrow(): void {
  setFlagsFromString(HEAP_GROWTH);
}
