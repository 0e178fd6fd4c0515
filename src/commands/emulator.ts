import type { Command } from 'commander';
import type { CommandIo } from './io.js';

export function addEmulator(_program: Command, _io: CommandIo, _setExitCode: (code: number) => void): void {}
