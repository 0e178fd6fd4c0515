import t, { type Test } from 'tap';
import type { ToolSet } from './container-tools.js';
import { type ContainerOptions, LocalContainer } from './local-exec.js';

export type Tell = (t: Test, container: LocalContainer) => Promise<void>;

/** What tells a story in a container of each of these kinds, or of those that it names; nothing may be left in any. */
export function containerStories(
  all: readonly ToolSet[],
  options: ContainerOptions = {},
): (name: string, tell: Tell, sets?: readonly ToolSet[]) => void {
  // Most of a story is waiting for processes to start, or to end.
  t.jobs = 5;
  return (name, tell, sets = all) => {
    for (const set of sets) {
      t.test(`${set}: ${name}`, { buffered: true }, async (t) => {
        const container = new LocalContainer(t.testdir({}), set, options);
        await tell(t, container);
        t.strictSame(container.leftovers, [], 'no folder is left');
        if (options.countsOrphans) t.strictSame(container.orphans, [], 'no process is left to the first one');
      });
    }
  };
}
