import type { Test } from 'tap';
import type { DoctorReport } from '../../src/commands/doctor/report.js';
import type { Fault } from '../../src/emulator/google/faults.js';
import type { DoctorScene, Machine } from './doctor-scene.js';

/** What is planted in the fleet, and what doctor says of it first. */
export interface PlantedFault {
  readonly title: string;
  readonly plant: Fault;
  /** All memberships when absent. */
  readonly args?: readonly string[];
  readonly first: string;
  readonly status?: 'fail' | 'warn';
  readonly message: RegExp;
  readonly next: RegExp;
  /** Checks that say why they were not made. */
  readonly skipped?: Readonly<Record<string, RegExp>>;
}

/** Plants it, has doctor look, and takes it away again. */
export async function findsFirst(
  t: Test,
  row: PlantedFault,
  at: { scene: DoctorScene; machine: Machine },
): Promise<void> {
  const id = at.scene.emulator.faults.add(row.plant);
  try {
    const report = await at.machine.report(row.args);
    assertFirst(t, report, row);
    const told = new Map(report.checks.map((check) => [check.id as string, check]));
    for (const [skipped, why] of Object.entries(row.skipped ?? {})) {
      t.match(told.get(skipped), { status: 'skip', message: why }, skipped);
      t.match(told.get(skipped)?.message, /^not checked: /);
    }
    const before = report.checks.slice(
      0,
      report.checks.findIndex((check) => check.id === row.first),
    );
    for (const { id: earlier, status, message } of before) t.not(status, 'fail', `${earlier}: ${message}`);
  } finally {
    at.scene.emulator.faults.remove(id);
  }
}

/** What doctor says first. */
export interface ExpectedFirst {
  readonly first: string;
  readonly status?: 'fail' | 'warn';
  readonly message: RegExp;
  readonly next: RegExp;
}

export function assertFirst(
  t: Test,
  report: DoctorReport,
  { first, status = 'fail', message, next }: ExpectedFirst,
): void {
  t.match(report.first, { id: first, status, message, next });
  t.equal(report.healthy, status === 'warn');
}
