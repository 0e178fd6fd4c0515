import t from 'tap';
import { CodedError } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { createFleet, type Fleet, type FleetOptions } from '../../../src/fleet/fleet.js';
import { createFleetCache } from '../../../src/fleet/fleet-cache.js';
import { FleetTable } from '../../../src/fleet/fleet-table.js';
import { createHubClient, type HubClient, type HubListing, type HubMembership } from '../../../src/fleet/hub-client.js';
import type { JsonClient } from '../../../src/fleet/json-client.js';
import type { MembershipChange } from '../../../src/fleet/membership.js';
import { closestNames, endpointByFormula, parseMembershipName, uniqueAliases } from '../../../src/fleet/names.js';
import { FakeClock } from '../../support/fake-clock.js';

function hubMembership(id: string, changes: Partial<HubMembership> = {}): HubMembership {
  const path = { project: 'demo', location: 'global', id, ...changes };
  return {
    ...path,
    name: `projects/${path.project}/locations/${path.location}/memberships/${id}`,
    kind: 'attached',
    state: 'READY',
    uniqueId: `uid-${id}`,
    ...changes,
  };
}

class FakeHub implements HubClient {
  listing: HubListing = { memberships: [], unreachable: [] };
  /** In the place of `listing`, for a project. */
  readonly listings = new Map<string, () => Promise<HubListing>>();
  failure: Error | undefined;
  endpointFailure: Error | undefined;
  projectFailure: Error | undefined;
  /** Calls wait for it. */
  endpointGate: Promise<void> | undefined;
  endpointCalls = 0;
  projectCalls = 0;

  async list(project: string): Promise<HubListing> {
    if (this.failure !== undefined) throw this.failure;
    return (await this.listings.get(project)?.()) ?? this.listing;
  }

  async endpoint(path: { project: string; location: string; id: string }): Promise<string> {
    this.endpointCalls++;
    await this.endpointGate;
    if (this.endpointFailure !== undefined) throw this.endpointFailure;
    return `https://told.example/v1/projects/${path.project}/locations/${path.location}/gkeMemberships/${path.id}`;
  }

  async project(project: string): Promise<{ number: string; id: string }> {
    this.projectCalls++;
    if (this.projectFailure !== undefined) throw this.projectFailure;
    return project === 'second' ? { number: '456', id: 'second' } : { number: '123', id: 'demo' };
  }
}

function scene(options: Partial<FleetOptions> & { cached?: unknown } = {}): {
  hub: FakeHub;
  clock: FakeClock;
  saved: unknown[];
  changes: { added: string[]; changed: string[]; removed: string[] }[];
  fleet: Fleet;
} {
  const hub = new FakeHub();
  const clock = new FakeClock();
  const saved: unknown[] = [];
  const { cached, ...more } = options;
  const fleet = createFleet({
    projects: ['demo'],
    pinned: [],
    universe: 'googleapis.com',
    hub,
    clock,
    log: silentLogger,
    cache: createFleetCache({ read: () => cached, write: (content) => saved.push(content), log: silentLogger }),
    ...more,
  });
  const changes: ReturnType<typeof scene>['changes'] = [];
  fleet.table.onChange((change: MembershipChange) => {
    const names = (list: MembershipChange['added']): string[] => list.map(({ alias }) => alias);
    changes.push({ added: names(change.added), changed: names(change.changed), removed: names(change.removed) });
  });
  return { hub, clock, saved, changes, fleet };
}

t.test('memberships of a project appear with the endpoint that Google tells', async (t) => {
  const { hub, fleet, changes } = scene();
  hub.listing = { memberships: [hubMembership('b'), hubMembership('a')], unreachable: [] };
  t.strictSame(await fleet.refresh(), { memberships: 2, unreachable: [], failures: [] });
  t.strictSame(changes, [{ added: ['a', 'b'], changed: [], removed: [] }]);
  t.match(fleet.table.get('projects/123/locations/global/memberships/a'), {
    project: '123',
    projectId: 'demo',
    endpoint: 'https://told.example/v1/projects/123/locations/global/gkeMemberships/a',
    endpointSource: 'generateCredentials',
    stale: false,
  });
  await fleet.refresh();
  t.equal(hub.endpointCalls, 2, 'what was told once is not asked again');
  t.equal(changes.length, 1);
});

t.test('where generateCredentials is refused the formula serves, and is not asked at every refresh', async (t) => {
  const { hub, fleet, clock } = scene();
  hub.endpointFailure = new CodedError({ code: 'google-403', message: 'denied' });
  hub.listing = { memberships: [hubMembership('g', { kind: 'gke', location: 'us-east1' })], unreachable: [] };
  await fleet.refresh();
  t.match(fleet.table.list(), [
    {
      endpoint: 'https://us-east1-connectgateway.googleapis.com/v1/projects/123/locations/us-east1/gkeMemberships/g',
      endpointSource: 'formula',
    },
  ]);
  await fleet.refresh();
  t.equal(hub.endpointCalls, 1);
  clock.advance(3_600_000);
  await fleet.refresh();
  t.equal(hub.endpointCalls, 2);
});

t.test('an unreachable location and a failing project keep what was known', async (t) => {
  const { hub, fleet } = scene();
  hub.listing = { memberships: [hubMembership('a'), hubMembership('r', { location: 'us-east1' })], unreachable: [] };
  await fleet.refresh();
  hub.listing = { memberships: [hubMembership('a')], unreachable: ['us-east1'] };
  t.match(await fleet.refresh(), { memberships: 2, unreachable: ['us-east1'] });
  t.strictSame(
    fleet.table.list().map(({ alias, stale }) => [alias, stale]),
    [
      ['a', false],
      ['r', true],
    ],
  );
  hub.failure = new Error('no network');
  t.match(await fleet.refresh(), { memberships: 2, failures: ['project demo: no network'] });
  hub.failure = undefined;
  hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  await fleet.refresh();
  t.strictSame(
    fleet.table.list().map(({ alias }) => alias),
    ['a'],
  );
});

t.test('a membership that was made anew is another one', async (t) => {
  const { hub, fleet, changes } = scene();
  hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  await fleet.refresh();
  hub.listing = { memberships: [hubMembership('a', { uniqueId: 'uid-2' })], unreachable: [] };
  await fleet.refresh();
  t.strictSame(changes.at(-1), { added: ['a'], changed: [], removed: ['a'] });
  t.equal(hub.endpointCalls, 2, 'its endpoint is asked anew');
  hub.listing = { memberships: [hubMembership('a', { uniqueId: 'uid-2', state: 'DELETING' })], unreachable: [] };
  await fleet.refresh();
  t.strictSame(changes.at(-1), { added: [], changed: ['a'], removed: [] });
});

t.test('the cached fleet is there without a network; what was unconfigured since is not', async (t) => {
  const first = scene();
  first.hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  await first.fleet.refresh();
  const cached = first.saved.at(-1);
  const second = scene({ cached });
  t.strictSame(
    second.fleet.table.list().map(({ alias }) => alias),
    ['a'],
  );
  second.hub.failure = new Error('offline');
  await second.fleet.refresh();
  t.match(second.fleet.table.list(), [{ alias: 'a', stale: true }]);
  t.strictSame(scene({ cached, projects: ['other'] }).fleet.table.list(), []);
  t.strictSame(scene({ cached: { version: 9 } }).fleet.table.list(), [], 'an unknown format is ignored');
});

t.test('pinned memberships need no fleet API, and pins rename and restrict what is found', async (t) => {
  const { hub, fleet, changes } = scene({
    pinned: [
      { name: 'projects/demo/locations/global/memberships/z', alias: 'first', port: 7501, identity: 'ci' },
      { name: 'projects/9/locations/global/memberships/alone', endpoint: 'https://own.example/x' },
    ],
  });
  t.match(fleet.table.list(), [{ alias: 'alone', endpoint: 'https://own.example/x', endpointSource: 'config' }]);
  hub.listing = { memberships: [hubMembership('a'), hubMembership('z')], unreachable: [] };
  await fleet.refresh();
  t.match(fleet.table.list(), [{ alias: 'first', port: 7501, identity: 'ci' }, { alias: 'alone' }, { alias: 'a' }]);
  t.equal(hub.endpointCalls, 2, 'an endpoint of the configuration is not asked for');
  t.match(changes, [{ removed: [] }], 'a pin of a listed project comes under the name that it keeps, and never leaves');
});

t.test('an override of the gateway replaces the host of every endpoint and keeps the path', async (t) => {
  const { hub, fleet } = scene({ connectgatewayOverride: 'https://127.0.0.1:1' });
  hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  await fleet.refresh();
  t.match(fleet.table.list(), [{ endpoint: 'https://127.0.0.1:1/v1/projects/123/locations/global/gkeMemberships/a' }]);
});

t.test('what an emulator told is forgotten when the override is gone, and the reverse', async (t) => {
  const emulated = scene({ connectgatewayOverride: 'https://127.0.0.1:1' });
  emulated.hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  await emulated.fleet.refresh();
  const cached = emulated.saved.at(-1);
  const real = scene({ cached });
  const google = 'https://connectgateway.googleapis.com/v1/projects/123/locations/global/memberships/a';
  t.match(real.fleet.table.list(), [{ endpoint: google, endpointSource: 'formula' }]);
  const same = scene({ cached, connectgatewayOverride: 'https://127.0.0.1:1' });
  t.match(same.fleet.table.list(), [{ endpointSource: 'generateCredentials' }]);
  real.hub.listing = emulated.hub.listing;
  await real.fleet.refresh();
  const emulatedAgain = scene({ cached: real.saved.at(-1), connectgatewayOverride: 'https://127.0.0.1:1' });
  t.match(emulatedAgain.fleet.table.list(), [
    { endpoint: google.replace('https://connectgateway.googleapis.com', 'https://127.0.0.1:1') },
  ]);
});

t.test('a pin that nobody could be asked about is served, and goes when its location does not know it', async (t) => {
  const pinned = [
    { name: 'projects/demo/locations/us-east1/memberships/p' },
    { name: 'projects/demo/locations/global/memberships/q', endpoint: 'https://own.example/q' },
  ];
  const { hub, fleet } = scene({ pinned });
  const aliases = (): string[] => fleet.table.list().map(({ alias }) => alias);
  hub.failure = new CodedError({ code: 'google-403', message: 'gkehub.memberships.list denied' });
  t.match(await fleet.refresh(), { failures: [/list denied/] });
  t.match(fleet.table.list(), [{ alias: 'p', kind: 'gke', endpointSource: 'generateCredentials' }, { alias: 'q' }]);
  hub.failure = undefined;
  hub.listing = { memberships: [], unreachable: ['us-east1'] };
  await fleet.refresh();
  t.strictSame(aliases(), ['p', 'q'], 'its location could not be asked');
  hub.listing = { memberships: [], unreachable: [] };
  await fleet.refresh();
  t.strictSame(aliases(), ['q'], 'what the configuration locates in full is left to it');
  hub.failure = new Error('offline');
  await fleet.refresh();
  t.strictSame(aliases(), ['q'], 'and a failure brings nothing back');
});

t.test('a pin is served although its project is slow to be listed', async (t) => {
  const { hub, fleet, clock } = scene({ pinned: [{ name: 'projects/demo/locations/global/memberships/p' }] });
  hub.listings.set('demo', () => new Promise(() => {}));
  void fleet.refresh();
  clock.advance(5000);
  t.match(fleet.table.list(), [{ alias: 'p', endpointSource: 'formula' }]);
});

t.test('a slow gateway or project does not hold up the others', async (t) => {
  const { hub, fleet, clock } = scene({ projects: ['demo', 'second'] });
  let open = (): void => {};
  let answer = (_: HubListing): void => {};
  hub.endpointGate = new Promise((resolve) => {
    open = resolve;
  });
  const listing = new Promise<HubListing>((resolve) => {
    answer = resolve;
  });
  hub.listings.set('second', () => listing);
  hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  const refresh = fleet.refresh();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(fleet.table.list().length, 0, 'a moment is waited, so that endpoints need not change at once');
  clock.advance(5000);
  t.match(fleet.table.list(), [{ alias: 'a', endpointSource: 'formula' }]);
  open();
  await new Promise((resolve) => setImmediate(resolve));
  t.match(fleet.table.list(), [{ alias: 'a', endpointSource: 'generateCredentials' }]);
  answer({ memberships: [hubMembership('a', { project: '456' })], unreachable: [] });
  t.match(await refresh, { memberships: 2, failures: [] });
  t.strictSame(
    fleet.table.list().map(({ alias }) => alias),
    ['a-global-demo', 'a-global-second'],
  );
});

t.test('a gateway that swallows calls is not asked for every membership', async (t) => {
  const { hub, fleet } = scene();
  const many = Array.from({ length: 50 }, (_, index) => hubMembership(`m${index}`));
  hub.listing = { memberships: many, unreachable: [] };
  hub.endpointFailure = new CodedError({ code: 'google-unreachable', message: 'no answer', retry: 'later' });
  t.match(await fleet.refresh(), { memberships: 50 });
  t.equal(hub.endpointCalls, 8, 'those under way at the first failure');
  hub.endpointFailure = undefined;
  await fleet.refresh();
  t.equal(hub.endpointCalls, 58, 'and the next refresh asks again');
});

t.test('a project whose number nobody may look up is served under what the listing says', async (t) => {
  const denied = new CodedError({ code: 'google-403', message: 'denied' });
  const name = async (listedProject: string, failure: Error): Promise<string | undefined> => {
    const { hub, fleet } = scene();
    hub.projectFailure = failure;
    hub.listing = { memberships: [hubMembership('a', { project: listedProject })], unreachable: [] };
    await fleet.refresh();
    return fleet.table.list()[0]?.name;
  };
  t.equal(await name('123', denied), 'projects/123/locations/global/memberships/a');
  t.equal(await name('demo', denied), 'projects/demo/locations/global/memberships/a');
  const passing = new CodedError({ code: 'google-503', message: 'busy', retry: 'later' });
  t.equal(await name('demo', passing), undefined, 'nothing is named that would be renamed in a moment');
});

t.test('a project configured twice is served once', async (t) => {
  const { hub, fleet } = scene({ projects: ['demo', '123'] });
  hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  t.match(await fleet.refresh(), { memberships: 1 });
  t.match(fleet.table.list(), [{ alias: 'a' }]);
});

t.test('a cache that cannot be read or written does not stop anything', async (t) => {
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (_: unknown, message: string) => void warnings.push(message) };
  const cache = createFleetCache({
    read: () => {
      throw new Error('EACCES');
    },
    write: () => {
      throw new Error('ENOSPC');
    },
    log,
  });
  const { hub, fleet } = scene({ cache });
  hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  t.match(await fleet.refresh(), { memberships: 1 });
  t.match(warnings, [/cannot be read.*EACCES/, /could not be cached.*ENOSPC/]);
});

t.test('closing ends the refreshes and changes nothing any more', async (t) => {
  const { hub, fleet, clock, changes, saved } = scene();
  let answer = (_: HubListing): void => {};
  const listing = new Promise<HubListing>((resolve) => {
    answer = resolve;
  });
  hub.listings.set('demo', () => listing);
  const started = fleet.start();
  await new Promise((resolve) => setImmediate(resolve));
  fleet.close();
  answer({ memberships: [hubMembership('a')], unreachable: [] });
  await started;
  t.equal(clock.pendingTimers, 0);
  t.strictSame([changes.length, saved.length], [0, 0]);
});

t.test('the fleet is refreshed every five minutes, and soon after a failure', async (t) => {
  const { hub, fleet, clock } = scene();
  await fleet.start();
  hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  clock.advance(5 * 60_000);
  await fleet.refresh();
  t.equal(fleet.table.list().length, 1);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(clock.pendingTimers, 1);
  hub.failure = new Error('offline');
  clock.advance(5 * 60_000);
  await fleet.refresh();
  await new Promise((resolve) => setImmediate(resolve));
  hub.failure = undefined;
  hub.listing = { memberships: [], unreachable: [] };
  clock.advance(5000);
  await fleet.refresh();
  t.equal(fleet.table.list().length, 0);
  fleet.close();
});

t.test('a listing takes all pages, both forms of unreachable, and leaves lost clusters out', async (t) => {
  const asked: string[] = [];
  const pages: Record<string, unknown> = {
    '': {
      resources: [
        {
          name: 'projects/demo/locations/l/memberships/g',
          endpoint: { gkeCluster: { resourceLink: 'x' } },
          state: { code: 'READY' },
          uniqueId: 'u',
        },
        { name: 'projects/demo/locations/l/memberships/lost', endpoint: { gkeCluster: { clusterMissing: true } } },
      ],
      nextPageToken: 'p2',
      unreachable: ['projects/demo/locations/us-east1'],
    },
    p2: {
      resources: [
        {
          name: 'projects/demo/locations/global/memberships/o',
          endpoint: { onPremCluster: {}, kubernetesMetadata: { kubernetesApiServerVersion: 'v1.35.1' } },
        },
        { name: 'nonsense' },
        null,
      ],
      unreachable: ['us-west1'],
    },
  };
  const json: Pick<JsonClient, 'get'> = {
    get: async (url) => {
      asked.push(url);
      return pages[new URL(url).searchParams.get('pageToken') ?? ''];
    },
  };
  const hub = createHubClient({
    json,
    endpoints: { universeDomain: 'googleapis.com', gkehub: 'https://hub', cloudresourcemanager: 'https://crm' },
  });
  const { memberships, unreachable } = await hub.list('demo');
  t.strictSame(unreachable, ['us-east1', 'us-west1']);
  t.match(memberships, [
    { id: 'g', kind: 'gke', state: 'READY', uniqueId: 'u' },
    { id: 'o', kind: 'on-prem', kubernetesVersion: 'v1.35.1' },
  ]);
  t.equal(memberships.length, 2);
  t.match(asked[0], 'https://hub/v1/projects/demo/locations/-/memberships?pageSize=');
});

t.test('generateCredentials is asked at the host of the location', async (t) => {
  const asked: string[] = [];
  const json: Pick<JsonClient, 'get'> = {
    get: async (url) => {
      asked.push(url);
      return { endpoint: 'https://us-east1-connectgateway.googleapis.com/v1/x/' };
    },
  };
  const endpoints = { universeDomain: 'googleapis.com', gkehub: 'https://hub', cloudresourcemanager: 'https://crm' };
  const path = { project: '1', location: 'us-east1', id: 'm' };
  t.equal(
    await createHubClient({ json, endpoints }).endpoint(path),
    'https://us-east1-connectgateway.googleapis.com/v1/x',
  );
  const here = createHubClient({ json, endpoints: { ...endpoints, connectgateway: 'https://127.0.0.1:1' } });
  await here.endpoint({ ...path, location: 'global' });
  t.strictSame(asked, [
    'https://us-east1-connectgateway.googleapis.com/v1/projects/1/locations/us-east1/memberships/m:generateCredentials',
    'https://127.0.0.1:1/v1/projects/1/locations/global/memberships/m:generateCredentials',
  ]);
});

t.test('the number of a project comes from its resource name', async (t) => {
  const endpoints = { universeDomain: 'googleapis.com', gkehub: 'https://hub', cloudresourcemanager: 'https://crm' };
  const asked: string[] = [];
  const hub = (answer: unknown): HubClient => {
    const get = async (url: string): Promise<unknown> => {
      asked.push(url);
      return answer;
    };
    return createHubClient({ endpoints, json: { get } });
  };
  const answer = { name: 'projects/123', projectId: 'demo', state: 'ACTIVE' };
  t.strictSame(await hub(answer).project('demo'), { number: '123', id: 'demo' });
  t.strictSame(asked, ['https://crm/v3/projects/demo']);
  await t.rejects(hub({}).project('demo'), { code: 'google-odd-answer' });
});

t.test('names', async (t) => {
  t.strictSame(parseMembershipName('projects/p/locations/l/memberships/m'), { project: 'p', location: 'l', id: 'm' });
  t.equal(parseMembershipName('projects/p/memberships/m'), undefined);
  const path = { project: '1', location: 'global', id: 'm' };
  t.equal(
    endpointByFormula(path, { gke: false, universe: 'googleapis.com' }),
    'https://connectgateway.googleapis.com/v1/projects/1/locations/global/memberships/m',
  );
  const named = ['p/us/m', 'p/eu/m', 'q/eu/m', 'p/us/n'].map((text) => {
    const [project = '', location = '', id = ''] = text.split('/');
    return { name: text, project, location, id };
  });
  t.strictSame([...uniqueAliases(named, new Set(['n']))].sort(), [
    ['p/eu/m', 'm-eu-p'],
    ['p/us/m', 'm-us'],
    ['p/us/n', 'n-us'],
    ['q/eu/m', 'm-eu-q'],
  ]);
  t.strictSame(closestNames('prd', ['prod', 'edge-store', 'pred']), ['pred', 'prod']);
  t.strictSame(closestNames('xyz', ['completely-different', 'abc']), []);
  t.strictSame(closestNames('prod', ['stage', 'prod-us', 'prod-europe', 'prod-asia1', 'prof']), [
    'prof',
    'prod-us',
    'prod-asia1',
  ]);
  t.strictSame(closestNames('', ['a-cluster', 'b-cluster']), []);
});

t.test('a policy is not lost because the project has a second name that nobody knows', async (t) => {
  const policyOf = (
    pins: Record<string, 'read-only' | 'no-exec'>,
    entry: { project: string; projectId?: string },
  ): string => {
    const pinned = Object.entries(pins).map(([project, policy]) => ({
      name: `projects/${project}/locations/global/memberships/m`,
      policy,
    }));
    const table = new FleetTable({ pinned });
    const name = `projects/${entry.project}/locations/global/memberships/m`;
    const known = { name, listedUnder: '', location: 'global', id: 'm', kind: 'attached', state: 'READY' } as const;
    table.update([{ ...known, ...entry, endpoint: 'https://x.example/v1', endpointSource: 'formula', stale: false }]);
    return table.get(name)?.policy ?? 'none';
  };
  t.equal(policyOf({ demo: 'read-only' }, { project: '12', projectId: 'demo' }), 'read-only');
  t.equal(policyOf({ demo: 'read-only' }, { project: '12' }), 'read-only', 'it may be its id');
  t.equal(policyOf({ 12: 'no-exec' }, { project: 'demo', projectId: 'demo' }), 'no-exec', 'it may be its number');
  t.equal(policyOf({ other: 'read-only' }, { project: '12', projectId: 'demo' }), 'full');
  t.equal(policyOf({ 13: 'read-only' }, { project: '12' }), 'full');
  t.equal(policyOf({ 12: 'no-exec', demo: 'read-only' }, { project: '12', projectId: 'demo' }), 'read-only');
});
