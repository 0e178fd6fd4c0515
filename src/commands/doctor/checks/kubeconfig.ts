import type { CommandIo } from '../../io.js';
import { type Check, combined, type Finding, fail, notChecked, ok, warn } from '../check.js';
import type { Subject } from '../facts.js';
import type { SeenContext, SeenKubeconfig } from '../kubeconfigs.js';

interface Ours {
  readonly authority: string | undefined;
  readonly token: (name: string) => string | undefined;
}

/** Does kubectl reach the daemon: server, authority and token are ours, and nothing of gcloud's stands before them? */
export const kubeconfig: Check = {
  id: 'kubeconfig',
  title: 'kubeconfig',
  needs: ['daemon'],
  async run(context) {
    const daemon = await context.daemon();
    if (daemon.kind !== 'up') return notChecked('needs a running daemon: it says where the contexts must lead');
    const state = context.state();
    const ours: Ours = {
      authority: state?.authorityCertificate(),
      token: (name) => state?.tokens.ofMembership(name),
    };
    const { settings } = await context.inForce();
    const subjects = (await context.memberships()).filter(({ url }) => url !== undefined);
    const { own, persons } = await context.kubeconfigs();
    const found = [
      ...subjects.flatMap((subject) => ownEntry(own, subject, { ours, file: settings.kubeconfigFile })),
      ...persons.broken.map((file) => fail(`${file} is no kubeconfig`, `kubectl --kubeconfig ${file} config view`)),
      ...(persons === own ? [] : personsEntries(persons, subjects, ours)),
      ...bypassing(persons, await context.everyMembership(), { io: context.io, hubUrl: daemon.record.hubUrl }),
    ].map((finding): Finding => (finding.status === 'fail' ? { ...finding, goesOn: true } : finding));
    return combined(found) ?? ok(`${settings.kubeconfigFile} leads to the daemon, and kubectl uses it`);
  },
};

/** In the file that the daemon keeps. */
function ownEntry(own: SeenKubeconfig, subject: Subject, { ours, file }: { ours: Ours; file: string }): Finding[] {
  const next = 'connect-gateway-proxy kubeconfig';
  if (own.broken.length > 0) return [fail(`${file} is no kubeconfig`, next, { code: 'kubeconfig-broken' })];
  const leading = own.contexts.find((context) => context.server === subject.url);
  const named = own.contexts.find(({ name }) => name === subject.alias);
  const context = leading ?? named;
  if (context === undefined)
    return [fail(`${file} has no context for ${subject.alias}`, next, { code: 'context-missing' })];
  return wrongEntry(context, subject, { ours, next });
}

/** Entries of ours that a person has merged into other files go stale when the daemon's ports or authority change. */
function personsEntries(persons: SeenKubeconfig, subjects: readonly Subject[], ours: Ours): Finding[] {
  const found = subjects.flatMap((subject): Finding[] => {
    const { alias, name, url } = subject;
    const token = ours.token(name);
    const context = persons.contexts.find((one) => one.server === url || (token !== undefined && one.token === token));
    const shadow = persons.hidden.find((hidden) => hidden.name === alias);
    if (shadow !== undefined && context === undefined) {
      const message = `the context ${alias} of ${shadow.file} is hidden by one of the same name in ${shadow.by}, which does not lead to the daemon`;
      return [
        fail(message, `connect-gateway-proxy kubeconfig --merge --context-template 'fleet-{alias}'`, {
          code: 'context-hidden',
        }),
      ];
    }
    if (context === undefined) return [];
    return wrongEntry(context, subject, { ours, next: `connect-gateway-proxy kubeconfig --merge ${context.file}` });
  });
  const any = subjects.some(({ url }) => persons.contexts.some(({ server }) => server === url));
  if (found.length > 0 || any || subjects.length === 0) return found;
  return [
    warn(
      `kubectl reads ${persons.files.join(', ')}, where no context leads to the daemon`,
      'export KUBECONFIG=$(connect-gateway-proxy kubeconfig)',
      { code: 'kubeconfig-elsewhere' },
    ),
  ];
}

function wrongEntry(context: SeenContext, subject: Subject, o: { ours: Ours; next: string }): Finding[] {
  const { name, file, server, authority, token } = context;
  const { ours, next } = o;
  const place = `the context ${name} of ${file}`;
  if (server !== subject.url) {
    return [
      fail(`${place} leads to ${server ?? 'nowhere'}, and the daemon serves ${subject.alias} at ${subject.url}`, next, {
        code: 'server-stale',
      }),
    ];
  }
  if (authority?.trim() !== ours.authority?.trim()) {
    return [fail(`${place} trusts another certificate authority than the daemon's`, next, { code: 'authority-stale' })];
  }
  if (token !== ours.token(subject.name)) {
    return [fail(`${place} holds another token than the daemon's`, next, { code: 'token-stale' })];
  }
  return [];
}

/** gcloud writes an entry of its own, and makes it the current one, at every get-credentials. */
function bypassing(
  persons: SeenKubeconfig,
  served: readonly Subject[],
  { io, hubUrl }: { io: CommandIo; hubUrl: string },
): Finding[] {
  const current = persons.contexts.find(({ name }) => name === persons.current);
  const { server = '', plugin, name, file } = current ?? {};
  const id = /^https:.*\/projects\/[^/]+\/(?:locations\/[^/]+\/)?(?:gkeM|m)emberships\/([^/]+)\/?$/.exec(server)?.[1];
  if (id === undefined || server.startsWith(`${hubUrl}/`)) return [];
  const same = served.find((subject) => subject.id === id);
  const ours = persons.contexts.find((context) => context.server !== undefined && context.server === same?.url);
  const merge =
    io.env['KUBECONFIG'] === undefined
      ? 'export KUBECONFIG=$(connect-gateway-proxy kubeconfig)'
      : 'connect-gateway-proxy kubeconfig --merge --set-current-context';
  return [
    fail(
      `kubectl's current context ${name} (${file}) is gcloud's: it goes to Google by itself${plugin === undefined ? '' : ` with ${plugin}`}, past the daemon`,
      ours === undefined ? merge : `kubectl config use-context ${ours.name}`,
      { code: 'context-of-gcloud' },
    ),
  ];
}
