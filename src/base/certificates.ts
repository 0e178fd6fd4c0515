import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import type * as X509 from '@peculiar/x509';

/** PEM texts. */
export interface CertificatePair {
  readonly certificate: string;
  readonly privateKey: string;
}

/** Loaded on first use: it costs more than 100 ms, and a daemon with certificates at hand never needs it. */
async function loadX509(): Promise<typeof X509> {
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  x509.cryptoProvider.set(webcrypto);
  return x509;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 60 * 60 * 1000;
/** A certificate made on a machine whose clock runs ahead must be valid on the same machine once it is set right. */
const BACKDATE_MS = DAY_MS;

/** A self-signed authority that can sign leaves and nothing below it. */
export async function createAuthority(options: {
  commonName: string;
  now: number;
  validDays: number;
}): Promise<CertificatePair> {
  const x509 = await loadX509();
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=${options.commonName}`,
    notBefore: new Date(options.now - BACKDATE_MS),
    notAfter: new Date(options.now + options.validDays * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), privateKey: await pemOfKey(keys.privateKey) };
}

/**
 * A server certificate for `hosts` (DNS names and IP addresses), with both key identifiers, which strict verifiers
 * (Python 3.13 and later) demand.
 */
export async function issueServerCertificate(options: {
  authority: CertificatePair;
  commonName: string;
  hosts: readonly string[];
  now: number;
  validDays: number;
}): Promise<CertificatePair> {
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(options.authority.certificate);
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    createPrivateKey(options.authority.privateKey).export({ type: 'pkcs8', format: 'der' }),
    ALGORITHM,
    false,
    ['sign'],
  );
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${options.commonName}`,
    issuer: issuer.subject,
    notBefore: new Date(options.now - BACKDATE_MS),
    notAfter: new Date(Math.min(options.now + options.validDays * DAY_MS, issuer.notAfter.getTime())),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        options.hosts.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return { certificate: certificate.toString('pem'), privateKey: await pemOfKey(keys.privateKey) };
}

/** A server certificate, and the authority that signs it. */
export interface CertificateOrder {
  /** One that is there already, or what a new one is to be. */
  readonly authority: CertificatePair | { readonly commonName: string; readonly validDays: number };
  readonly server: { readonly commonName: string; readonly hosts: readonly string[]; readonly validDays: number };
  readonly now: number;
}

export interface MadeCertificates {
  readonly authority: CertificatePair;
  readonly server: CertificatePair;
}

export async function makeCertificates({ authority, server, now }: CertificateOrder): Promise<MadeCertificates> {
  const signer = 'certificate' in authority ? authority : await createAuthority({ ...authority, now });
  return { authority: signer, server: await issueServerCertificate({ ...server, authority: signer, now }) };
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function pemOfKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
}

/** 16 random bytes with the top bit clear: positive, and inside RFC 5280's 20 octets. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01;
  return bytes.toString('hex');
}
