import t from 'tap';
import { CodedError } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { createFleet, type Fleet, type FleetOptions } from '../../../src/fleet/fleet.js';
import { createFleetCache } from '../../../src/fleet/fleet-cache.js';
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
  failure: Error | undefined;
  endpointFailure: Error | undefined;
  endpointCalls = 0;

  async list(): Promise<HubListing> {
    if (this.failure !== undefined) throw this.failure;
    return this.listing;
  }

  async endpoint(path: { project: string; location: string; id: string }): Promise<string> {
    this.endpointCalls++;
    if (this.endpointFailure !== undefined) throw this.endpointFailure;
    return `https://told.example/v1/projects/${path.project}/locations/${path.location}/gkeMemberships/${path.id}`;
  }

  async project(): Promise<{ number: string; id: string }> {
    return { number: '123', id: 'demo' };
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
  const { hub, fleet } = scene({
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
});

t.test('an override of the gateway replaces the host of every endpoint and keeps the path', async (t) => {
  const { hub, fleet } = scene({ connectgatewayOverride: 'https://127.0.0.1:1' });
  hub.listing = { memberships: [hubMembership('a')], unreachable: [] };
  await fleet.refresh();
  t.match(fleet.table.list(), [{ endpoint: 'https://127.0.0.1:1/v1/projects/123/locations/global/gkeMemberships/a' }]);
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
  const json: JsonClient = {
    get: async (url) => {
      asked.push(url);
      return pages[new URL(url).searchParams.get('pageToken') ?? ''];
    },
  };
  const hub = createHubClient({ json, endpoints: { gkehub: 'https://hub', cloudresourcemanager: 'https://crm' } });
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
  const json: JsonClient = {
    get: async (url) => {
      asked.push(url);
      return { endpoint: 'https://us-east1-connectgateway.googleapis.com/v1/x/' };
    },
  };
  const endpoints = { gkehub: 'https://hub', cloudresourcemanager: 'https://crm' };
  const path = { project: '1', location: 'us-east1', id: 'm' };
  t.equal(
    await createHubClient({ json, endpoints }).endpoint(path),
    'https://us-east1-connectgateway.googleapis.com/v1/x',
  );
  const here = createHubClient({ json, endpoints: { ...endpoints, connectgateway: 'https://127.0.0.1:1' } });
  t.equal(await here.endpoint({ ...path, location: 'global' }), 'https://127.0.0.1:1/v1/x');
  t.strictSame(asked, [
    'https://us-east1-connectgateway.googleapis.com/v1/projects/1/locations/us-east1/memberships/m:generateCredentials',
    'https://127.0.0.1:1/v1/projects/1/locations/global/memberships/m:generateCredentials',
  ]);
});

t.test('names', async (t) => {
  t.strictSame(parseMembershipName('projects/p/locations/l/memberships/m'), { project: 'p', location: 'l', id: 'm' });
  t.equal(parseMembershipName('projects/p/memberships/m'), undefined);
  const path = { project: '1', location: 'global', id: 'm' };
  t.equal(
    endpointByFormula(path, { gke: false }),
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
  t.strictSame(closestNames('xyz', ['completely-different']), []);
});
