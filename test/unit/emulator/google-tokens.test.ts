import { createSign } from 'node:crypto';
import t from 'tap';
import { openGoogleBench, PROD } from './google-bench.js';

t.test(
  'tokens are minted for service accounts, refresh tokens and signed assertions, and for nothing else',
  async (t) => {
    const bench = await openGoogleBench(t);
    const { emulator } = bench;
    const mint = `/v1/projects/-/serviceAccounts/sa@p.iam.gserviceaccount.com:generateAccessToken`;
    const minted = await bench.json(mint, {
      method: 'POST',
      body: '{"delegates":null,"scope":["x"],"lifetime":"3600s"}',
    });
    t.match(minted['expireTime'], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'no fraction of a second');
    t.match(await bench.json(`${PROD}/version`, { token: String(minted['accessToken']) }), {
      caller: { user: 'sa@p.iam.gserviceaccount.com' },
    });
    const tooLong = await bench.call(mint, { method: 'POST', body: '{"scope":["x"],"lifetime":"7200s"}' });
    t.equal(tooLong.status, 400);

    const grant = (fields: Record<string, string>) =>
      bench.call('/token', { method: 'POST', token: null, body: new URLSearchParams(fields).toString() });
    const refreshed = await grant({ grant_type: 'refresh_token', refresh_token: emulator.refreshToken, scope: 'a b' });
    const answer = JSON.parse(refreshed.body) as { access_token: string; scope: string };
    t.equal(answer.scope, 'a b');
    t.match(await bench.json(`${PROD}/version`, { token: answer.access_token }), {
      caller: { user: 'dev@example.com' },
    });
    t.match((await grant({ grant_type: 'refresh_token', refresh_token: 'guess' })).body, /invalid_grant/);

    const key = emulator.issueServiceAccountKey('robot@p.iam.gserviceaccount.com');
    const claims = {
      iss: key['client_email'],
      scope: 'a',
      aud: key['token_uri'],
      iat: Math.floor(Date.now() / 1000),
      exp: Math.floor(Date.now() / 1000) + 60,
    };
    const signed = [{ alg: 'RS256', typ: 'JWT' }, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const signature = createSign('RSA-SHA256').update(signed).sign(String(key['private_key'])).toString('base64url');
    const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
    const robot = JSON.parse((await grant({ grant_type: grantType, assertion: `${signed}.${signature}` })).body);
    t.match(await bench.json('/oauth2/v3/userinfo', { token: robot.access_token }), { email: /^robot@/ });
    t.equal((await grant({ grant_type: grantType, assertion: `${signed}.AAAA` })).status, 400);

    const exchange = (subject: string) =>
      grant({ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token: subject });
    const workload = JSON.parse(
      (await exchange(emulator.issueSubjectToken({ user: 'principal://x/subject/ci' }))).body,
    );
    t.match(await bench.json('/oauth2/v3/userinfo', { token: workload.access_token }), { email: /subject\/ci$/ });
    t.match((await exchange('guess')).body, /invalid_grant/);
  },
);

t.test('the token endpoint and single hops of a chain refuse on demand, and nothing else does', async (t) => {
  const bench = await openGoogleBench(t);
  const { emulator } = bench;
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: emulator.refreshToken }).toString();
  const refresh = () => bench.call('/token', { method: 'POST', token: null, body });
  emulator.faults.add({ answer: 'token-reauthentication', match: 'token', times: 1 });
  t.equal((await bench.call(`${PROD}/version`)).status, 200);
  t.match(await refresh(), { status: 400, body: /invalid_rapt/ });
  t.equal((await refresh()).status, 200);
  emulator.faults.add({ answer: 'service-account-token-denied', match: 'control', serviceAccount: 'b@p.iam' });
  const mint = async (target: string, ...delegates: string[]): Promise<number> => {
    const resources = delegates.map((name) => `projects/-/serviceAccounts/${name}`);
    const asked = JSON.stringify({ delegates: resources, scope: ['x'], lifetime: '60s' });
    const path = `/v1/projects/-/serviceAccounts/${target}:generateAccessToken`;
    return (await bench.call(path, { method: 'POST', body: asked })).status;
  };
  t.equal(await mint('a@p.iam'), 200);
  t.equal(await mint('b@p.iam', 'a@p.iam'), 403);
  t.equal(await mint('c@p.iam', 'a@p.iam', 'b@p.iam'), 403);
});
