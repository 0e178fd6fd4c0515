import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
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

t.test('certificates are made in a thread, which is gone when they are there', async (t) => {
  const started = once(process, 'worker');
  const made = await makeCertificatesApart({ authority, server, now });
  const [worker] = (await started) as [Worker];
  t.equal(worker.threadId, -1);
  t.ok(isSigned(made));
  t.match(new X509Certificate(made.server.certificate).subjectAltName, '127.0.0.1');
});

t.test('an authority that is there signs, and stays as it is', async (t) => {
  const known = await createAuthority({ ...authority, now });
  const made = await makeCertificatesApart({ authority: known, server, now });
  t.strictSame(made.authority, known);
  t.ok(isSigned(made));
});

t.test('without a file for the thread they are made all the same', async (t) => {
  t.ok(isSigned(await makeCertificatesApart({ authority, server, now }, new URL('file:///no/such/file.js'))));
});

t.test('a thread that fails leaves it to the process', async (t) => {
  const folder = t.testdir({ 'fails.mjs': 'throw new Error("no")', 'silent.mjs': '' });
  for (const name of ['fails.mjs', 'silent.mjs']) {
    t.ok(isSigned(await makeCertificatesApart({ authority, server, now }, new URL(`file://${folder}/${name}`))), name);
  }
});

t.test('what cannot sign is refused with the reason', async (t) => {
  const broken = { certificate: 'no certificate', privateKey: 'no key' };
  await t.rejects(makeCertificatesApart({ authority: broken, server, now }));
});
