import t from 'tap';
import { Redactor } from '../../../../src/commands/doctor/redact.js';

t.test('what is known is taken out, in every usual encoding', async (t) => {
  const secret = 'p"ss word/with=odd+letters';
  const redactor = new Redactor([secret, 'short', '']);
  const forms = [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret),
    Buffer.from(secret).toString('base64'),
    Buffer.from(secret).toString('base64url'),
  ];
  for (const form of forms) {
    const clean = redactor.text(`before ${form} after`);
    t.match(clean, /^before .*\[redacted\].* after$/, form);
    t.notMatch(clean, form.slice(1, 12));
  }
  t.equal(redactor.text('a short word'), 'a short word', 'a word is not a secret because somebody chose it as one');
});

t.test('what looks like a credential is taken out though nobody knows it', async (t) => {
  const redactor = new Redactor([]);
  const canary = 'Canary0123456789abcdefghij';
  const texts = [
    `token ya29.a0${canary}`,
    `refresh 1//0${canary}`,
    `Authorization: Bearer ${canary}`,
    `proxy-authorization: Basic ${canary}`,
    `{"access_token":"${canary}","token_type":"Bearer"}`,
    `client_secret=${canary}&x=1`,
    `password: ${canary}`,
    `--id-token='${canary}'`,
    `https://user:${canary}@proxy:3128/`,
    `eyJhbGciOiJSUzI1NiJ9.${canary}.${canary}`,
    `-----BEGIN PRIVATE KEY-----\n${canary}\n-----END PRIVATE KEY-----`,
    `-----BEGIN RSA PRIVATE KEY-----\n${canary}`,
    `${canary}${canary}${canary}`,
  ];
  for (const text of texts) t.notMatch(redactor.text(text), canary, text);
});

t.test('what people need to read stays', async (t) => {
  const redactor = new Redactor([]);
  const texts = [
    'projects/123456789012/locations/us-central1/memberships/prod',
    'identities: default (token-file); next: gcloud auth print-access-token > /home/dev/.config/token',
    'default is robot@demo-project.iam.gserviceaccount.com, token good for 59m30s',
    'https://us-central1-connectgateway.googleapis.com/v1/projects/1/locations/us-central1/gkeMemberships/prod',
    'identitySource: token-file',
  ];
  for (const text of texts) t.equal(redactor.text(text), text);
});

t.test('JSON stays JSON', async (t) => {
  const redactor = new Redactor(['the-known-secret']);
  const clean = redactor.json({
    token: 'anything',
    nested: [{ 'client-key-data': 'x', note: 'said "token=abc" and the-known-secret' }],
    tokenExpiresAt: 17,
    none: null,
  });
  t.strictSame(clean, {
    token: '[redacted]',
    nested: [{ 'client-key-data': '[redacted]', note: 'said "token=[redacted]" and [redacted]' }],
    tokenExpiresAt: 17,
    none: null,
  });
});
