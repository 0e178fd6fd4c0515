import type { Command } from 'commander';
import type { CommandIo } from './io.js';
import type { EmulatorFlags } from './run-emulator.js';

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function addEmulator(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  program
    .command('emulator')
    .description('the Connect gateway emulator alone: a fleet, tokens, and small built-in or real clusters')
    .option('--port <PORT>', 'port of its TLS endpoint; 0 takes any free one (default: 0)')
    .option(
      '--cluster <NAME=KUBECONFIG[:CONTEXT]>',
      'a real cluster instead of the built-in ones (repeatable)',
      collect,
    )
    .option('--fault <JSON>', 'a fault from the start, e.g. {"cutAfterMs":2000,"form":"reset"} (repeatable)', collect)
    .option('--active-streams <NUMBER>', "the fleet's quota of streams (default: 10)")
    .option('--requests-per-minute <NUMBER>', "the fleet's quota of requests (default: 2400)")
    .option('--list-faults', 'print the forms of cuts and the errors that can be switched on, and exit')
    .action(async (flags: EmulatorFlags) => {
      // Loaded here, so that the other commands need not wait for it.
      const { faultList, runEmulator } = await import('./run-emulator.js');
      if (flags.listFaults) io.out(faultList());
      else setExitCode(await runEmulator(flags, io));
    });
}
