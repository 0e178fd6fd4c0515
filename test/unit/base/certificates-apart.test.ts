import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { createAuthority } from '../../../src/base/certificates.js';
import { makeCertificatesApart } from '../../../src/base/certificates-apart.js';

const now = Date.now();
const server = { commonName: 'here', hosts: ['127.0.0.1'], validDays: 1 };
const authority = { commonName: 'apart', validDays: 2 };

function isSigned(made: { authority: { certificate: string }; server: { certificate: string } }): boolean {
  const issuer = new X509Certificate(made.authority.certificate);
  return issuer.ca && new X509Certificate(made.server.certificate).verify(issuer.publicKey);
}

t.test('certificates are made, and signed by the authority that is made with them', async (t) => {
  const made = await makeCertificatesApart({ authority, server, now });
  t.ok(isSigned(made));
  t.match(new X509Certificate(made.server.certificate).subjectAltName, '127.0.0.1');
  t.match(made.server.privateKey, /BEGIN PRIVATE KEY/);
});

t.test('it is the program that makes them', async (t) => {
  const folder = t.testdir({ 'says.mjs': `process.stdout.write(JSON.stringify('what the program says'))` });
  const made = await makeCertificatesApart({ authority, server, now }, pathToFileURL(join(folder, 'says.mjs')));
  t.equal(made, 'what the program says');
});

t.test('an authority that is there signs, and stays as it is', async (t) => {
  const known = await createAuthority({ ...authority, now });
  const made = await makeCertificatesApart({ authority: known, server, now });
  t.strictSame(made.authority, known);
  t.ok(isSigned(made));
});

t.test('without a program they are made all the same', async (t) => {
  t.ok(isSigned(await makeCertificatesApart({ authority, server, now }, new URL('file:///no/such/file.js'))));
});

t.test('a program that fails leaves it to the process', async (t) => {
  const folder = t.testdir({ 'fails.mjs': 'throw new Error("no")', 'silent.mjs': '', 'other.mjs': 'console.log("{")' });
  for (const name of ['fails.mjs', 'silent.mjs', 'other.mjs']) {
    t.ok(isSigned(await makeCertificatesApart({ authority, server, now }, pathToFileURL(join(folder, name)))), name);
  }
});

t.test('what cannot sign is refused with the reason', async (t) => {
  const broken = { certificate: 'no certificate', privateKey: 'no key' };
  await t.rejects(makeCertificatesApart({ authority: broken, server, now }));
});
