import { UsageError } from '../../base/errors.js';
import { packageFile } from '../package-files.js';

/** Fills `{{name}}` in a file of the folder `service/`. The values are quoted by the caller, as the format asks. */
export function fillTemplate(file: string, values: Readonly<Record<string, string>>): string {
  return packageFile(`service/${file}`).replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`service/${file} asks for ${name}`);
    return value;
  });
}

/** Control characters have no sound form in any of the formats. Throws a UsageError. */
export function assertOneLine(what: string, value: string): void {
  if (!hasControl(value)) return;
  throw new UsageError(
    `${what} holds a line break or another control character, which no service definition can carry: ${JSON.stringify(value)}`,
  );
}

/** See `assertOneLine`. */
export function hasControl(value: string): boolean {
  return /\p{Cc}/u.test(value);
}

/** `ExecStart=`: specifiers are replaced everywhere, variables in all words but the first. */
export function systemdCommand(words: readonly string[]): string {
  const [program = '', ...args] = words;
  // systemd refuses such a program, quoted or not; the shell replaces itself by it.
  const viaShell = /["'\\]/.test(program);
  const rest = viaShell ? ['-c', 'exec "$0" "$@"', ...words] : args;
  return [
    systemdQuoted(viaShell ? '/bin/sh' : program),
    ...rest.map((word) => systemdQuoted(word).replaceAll('$', '$$$$')),
  ].join(' ');
}

/** `Environment=`: the dollar has no meaning there. */
export function systemdEnvironment(name: string, value: string): string {
  return `Environment=${systemdQuoted(`${name}=${value}`)}`;
}

function systemdQuoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%')}"`;
}

/** A path that is a setting's whole value, where quotes would be taken literally. */
export function systemdPath(path: string): string {
  return path.replaceAll('%', '%%');
}

/** Text of an XML element. */
export function xmlText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** One word of a Windows command line, as the C runtime splits it. */
export function windowsArgument(word: string): string {
  if (word !== '' && !/[\s"]/.test(word)) return word;
  const escaped = word.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\+)$/, '$1$1');
  return `"${escaped}"`;
}

/** One word for a POSIX shell. */
export function shellArgument(word: string): string {
  return /^[\w./:=@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** cron takes a bare percent sign for the end of the command. */
export function cronCommand(words: readonly string[]): string {
  return words.map(shellArgument).join(' ').replaceAll('%', '\\%');
}

/** One word of `Exec=` in a desktop entry: its own quoting, and the file's escapes over it. */
export function desktopArgument(word: string): string {
  const quoted = `"${word.replace(/["`$\\]/g, '\\$&')}"`;
  return quoted.replaceAll('\\', '\\\\').replaceAll('%', '%%');
}
