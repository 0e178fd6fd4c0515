import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';
import { tellObjectStory } from './object-story.js';
import { tellReadStory } from './read-story.js';
import { tellStreamStory } from './stream-story.js';

export interface Scene {
  readonly kubectl: Kubectl;
  readonly daemon: DemoDaemon;
  readonly context: string;
  /** For files of this scene alone. */
  readonly folder: string;
  /** A namespace of this scene alone. */
  readonly namespace: string;
  readonly version: string;
}

/** The list of issue 2 with one kubectl, against memberships of the demo fleet. */
export function tellStory(version: string, { memberships = ['prod'] }: { memberships?: readonly string[] } = {}): void {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    return;
  }
  t.test(`kubectl ${version} through the daemon`, async (t: Test) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-kubectl-'));
    const daemon = await startDemoDaemon({ folder });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    for (const context of memberships) {
      const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context, home: folder });
      const namespace = `story-${context}`;
      const scene: Scene = { kubectl, daemon, context, folder, namespace, version };
      await t.test(`${context}: reading`, (t) => tellReadStory(t, scene));
      await t.test(`${context}: writing`, (t) => tellObjectStory(t, scene));
      await t.test(`${context}: streams`, (t) => tellStreamStory(t, scene));
    }
  });
}
