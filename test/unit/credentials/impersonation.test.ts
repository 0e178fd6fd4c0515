import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { GcloudMachine, HOUR } from '../../support/gcloud-machine.js';
import { serve } from '../../support/token-endpoint.js';

interface IamAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly date?: number;
}

interface Asked {
  readonly target: string;
  readonly delegates: string[];
  readonly authorization: string | undefined;
  readonly scope: string[];
  readonly lifetime: string;
  readonly quotaProject: unknown;
}

async function iam(
  t: Test,
  answer: (target: string, delegates: string[], nth: number) => IamAnswer,
): Promise<{ asked: Asked[]; url: string }> {
  const asked: Asked[] = [];
  const url = await serve(t, (request, text, response) => {
    const { delegates, scope, lifetime } = JSON.parse(text) as Asked;
    const target = decodeURIComponent(/serviceAccounts\/(.+):generate/.exec(request.url ?? '')?.[1] ?? '');
    const { authorization, 'x-goog-user-project': quotaProject } = request.headers;
    asked.push({ target, delegates, scope, lifetime, authorization, quotaProject });
    const { status, body, date } = answer(target, delegates, asked.length);
    response.sendDate = false;
    if (date !== undefined) response.setHeader('Date', new Date(date).toUTCString());
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  });
  return { asked, url };
}

const CHAIN = ['a@p.iam.gserviceaccount.com', 'b@p.iam.gserviceaccount.com', 'c@p.iam.gserviceaccount.com'];

t.test('a chain: each asks for the next, and the last one is who we are', async (t) => {
  const machine = new GcloudMachine(t);
  const expireTime = new Date(machine.clock.now() + HOUR).toISOString();
  const google = await iam(t, () => ({ status: 200, body: { accessToken: 'ya29.robot', expireTime } }));
  const source = machine.source({ impersonate: CHAIN.slice(0, 2), quotaProject: 'payer' }, google.url);
  t.equal(source.description, 'b@p.iam.gserviceaccount.com (through dev@example.com, a@p.iam.gserviceaccount.com)');
  t.match(source.principal, { account: 'dev@example.com', chain: CHAIN.slice(0, 2), quotaProject: 'payer' });
  t.strictSame(await source.get(), { value: 'ya29.robot', expiresAt: machine.clock.now() + HOUR });
  t.match(google.asked, [
    {
      target: 'b@p.iam.gserviceaccount.com',
      delegates: ['projects/-/serviceAccounts/a@p.iam.gserviceaccount.com'],
      authorization: 'Bearer ya29.first',
      scope: [/cloud-platform/, /userinfo.email/],
      lifetime: '3600s',
      quotaProject: 'payer',
    },
  ]);
  machine.configure('default', 'ops@example.com');
  machine.answer = () => machine.token('ya29.ops');
  machine.clock.advance(1000);
  await source.get();
  t.equal(google.asked[1]?.authorization, 'Bearer ya29.ops', 'a switch at the beginning begins the chain anew');
});

t.test('a shorter or longer life is asked for as configured', async (t) => {
  const machine = new GcloudMachine(t);
  const google = await iam(t, () => ({ status: 200, body: { accessToken: 'ya29.x' } }));
  await machine.source({ impersonate: ['a@p.iam'], lifetime: 12 * HOUR }, google.url).get();
  t.equal(google.asked[0]?.lifetime, '43200s');
});

t.test('the hop that fails is named, with what mends it', async (t) => {
  const machine = new GcloudMachine(t);
  const denied = {
    status: 403,
    body: { error: { message: "Permission 'iam.serviceAccounts.getAccessToken' denied" } },
  };
  const fine = { status: 200, body: { accessToken: 'ya29.x', expireTime: '2030-01-01T00:00:00Z' } };
  for (const [failing, asker] of [
    [0, 'user:dev@example.com'],
    [1, 'serviceAccount:a@p.iam.gserviceaccount.com'],
    [2, 'serviceAccount:b@p.iam.gserviceaccount.com'],
  ] as const) {
    const google = await iam(t, (_target, delegates) => (delegates.length >= failing ? denied : fine));
    await t.rejects(machine.source({ impersonate: CHAIN }, google.url).get(), {
      code: 'impersonation-denied',
      message: new RegExp(
        `hop ${failing + 1} of 3 .*add-iam-policy-binding ${CHAIN[failing]} --member=${asker} --role=roles/iam.serviceAccountTokenCreator$`,
      ),
    });
  }
  const gone = await iam(t, (target) =>
    target === CHAIN[0] ? fine : { status: 404, body: { error: { message: 'Gaia id not found for email b@p' } } },
  );
  await t.rejects(machine.source({ impersonate: CHAIN }, gone.url).get(), {
    code: 'impersonation-denied',
    message: /hop 2 of 3 .*there is no service account b@p\.iam\S+ .*gcloud iam service-accounts list$/,
  });
});

t.test('the API that is not enabled is no fault of a hop', async (t) => {
  const machine = new GcloudMachine(t);
  const message =
    'IAM Service Account Credentials API has not been used in project 123 before or it is disabled. Enable it by visiting …';
  const google = await iam(t, () => ({ status: 403, body: { error: { message } } }));
  await t.rejects(machine.source({ impersonate: CHAIN }, google.url).get(), {
    code: 'iamcredentials-disabled',
    message: /run: gcloud services enable iamcredentials\.googleapis\.com --project=123$/,
  });
});

t.test('a base token that iamcredentials refuses is replaced once; its troubles are told as such', async (t) => {
  const machine = new GcloudMachine(t);
  const google = await iam(t, () => ({ status: 401, body: {} }));
  await t.rejects(machine.source({ impersonate: ['a@p.iam'] }, google.url).get(), {
    code: 'credentials-revoked',
    message: /token of dev@example\.com .*HTTP 401.*gcloud auth login$/,
  });
  t.equal(google.asked.length, 2);
  t.match(machine.runs[1]?.args, ['config', 'config-helper', '--format=json', '--force-auth-refresh']);
  await t.rejects(machine.source({ impersonate: ['a@p.iam'] }).get(), {
    code: 'token-unavailable',
    message: /no answer from 127\.0\.0\.1:9/,
  });
});

t.test('short troubles of IAM’s pass unnoticed, long ones are told', async (t) => {
  const machine = new GcloudMachine(t);
  const turning = async <T>(work: Promise<T>): Promise<T> => {
    let over = false;
    const watched = work.finally(() => {
      over = true;
    });
    watched.catch(() => {});
    while (!over) {
      await setImmediate();
      if (machine.clock.pendingTimers > 1) machine.clock.advance(100);
    }
    return await watched;
  };
  const unwell = await iam(t, (_target, _delegates, nth) =>
    nth < 3 ? { status: 503, body: 'no' } : { status: 200, body: { accessToken: 'ya29.x' } },
  );
  t.equal((await turning(machine.source({ impersonate: ['a@p.iam'] }, unwell.url).get())).value, 'ya29.x');
  const broken = await iam(t, () => ({ status: 503, body: 'no' }));
  await t.rejects(turning(machine.source({ impersonate: ['a@p.iam'] }, broken.url).get()), {
    code: 'token-unavailable',
    message: /HTTP 503/,
  });
  t.equal(broken.asked.length, 4);
});

t.test('a clock that is two hours ahead does not spoil tokens that are good for one', async (t) => {
  const machine = new GcloudMachine(t);
  const theirs = machine.clock.now() - 2 * HOUR;
  const expireTime = new Date(theirs + HOUR).toISOString();
  const google = await iam(t, () => ({ status: 200, body: { accessToken: 'ya29.x', expireTime }, date: theirs }));
  const { expiresAt } = await machine.source({ impersonate: ['a@p.iam'] }, google.url).get();
  t.equal(expiresAt, machine.clock.now() + HOUR, 'by the clock of this machine');
});
