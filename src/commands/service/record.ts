import { rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../base/errors.js';
import { writePrivateFile } from '../../daemon/files.js';
import type { CommandIo } from '../io.js';
import { readIfThere, removeFile } from './files.js';
import type { ManagerName, ServiceDefinition } from './manager.js';

/** What `service install` remembers: the other service commands take no settings. */
export interface ServiceRecord {
  readonly manager: ManagerName;
  /** Of the package that installed it. */
  readonly version: string;
  readonly stateDir: string;
  readonly definition: ServiceDefinition;
}

/** Where it is, whatever the state folder: it must be found without any setting. */
export function recordPaths(io: CommandIo): { recordFile: string; logFile: string; environmentFile: string } {
  return {
    recordFile: join(io.paths.data, 'service.json'),
    logFile: join(io.paths.data, 'service.log'),
    environmentFile: join(io.paths.config, 'service.env'),
  };
}

export function readRecord(io: CommandIo): ServiceRecord | undefined {
  const { recordFile } = recordPaths(io);
  const text = readIfThere(recordFile);
  return text === undefined ? undefined : parseRecord(text, recordFile);
}

/** Throws a CodedError `service-record-damaged`. */
export function parseRecord(text: string, path: string): ServiceRecord {
  try {
    const record = JSON.parse(text) as ServiceRecord;
    if (Array.isArray(record.definition.start.program) && typeof record.stateDir === 'string') return record;
  } catch {
    // Told below.
  }
  throw new CodedError({
    code: 'service-record-damaged',
    message: `${path} is damaged; remove it and run connect-gateway-proxy service install again`,
  });
}

export function requireRecord(io: CommandIo): ServiceRecord {
  const record = readRecord(io);
  if (record !== undefined) return record;
  throw new CodedError({
    code: 'service-not-installed',
    message: 'no service is installed for this user; install it with connect-gateway-proxy service install',
  });
}

export function writeRecord(io: CommandIo, record: ServiceRecord): void {
  writePrivateFile(recordPaths(io).recordFile, `${JSON.stringify(record, null, 2)}\n`);
}

/** Answers what was done. */
export function removeRecord(io: CommandIo): string[] {
  const { recordFile, logFile } = recordPaths(io);
  const steps = [recordFile, logFile, `${logFile}.1`].flatMap(removeFile);
  try {
    // Only where nothing else is in it.
    rmdirSync(io.paths.data);
  } catch {
    // It is the state folder as well.
  }
  return steps;
}
