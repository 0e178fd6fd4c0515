import { text } from 'node:stream/consumers';
import { type CertificateOrder, makeCertificates } from './certificates.js';

const order = JSON.parse(await text(process.stdin)) as CertificateOrder;
process.stdout.write(JSON.stringify(await makeCertificates(order)));
