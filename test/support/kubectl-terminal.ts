import type { IPty } from '@lydell/node-pty';
import type { Kubectl } from './kubectl.js';

/** A kubectl at a real terminal, and what stands there. */
export class KubectlTerminal {
  readonly exited: Promise<number>;
  screen = '';
  readonly #terminal: IPty;
  #wake = (): void => {};
  #over = false;

  private constructor(terminal: IPty) {
    this.#terminal = terminal;
    terminal.onData((data) => {
      this.screen += data;
      this.#wake();
    });
    this.exited = new Promise((resolve) =>
      terminal.onExit(({ exitCode }) => {
        this.#over = true;
        this.#wake();
        resolve(exitCode);
      }),
    );
  }

  static async start(
    kubectl: Kubectl,
    args: readonly string[],
    size: { columns: number; rows: number } = { columns: 80, rows: 24 },
  ): Promise<KubectlTerminal> {
    const { spawn } = await import('@lydell/node-pty');
    const { columns: cols, rows } = size;
    const env = kubectl.env as Record<string, string>;
    return new KubectlTerminal(spawn(kubectl.path, kubectl.args(args), { cols, rows, env }));
  }

  type(text: string): void {
    this.#terminal.write(text);
  }

  /** Resolves once the pattern stands there; rejects when kubectl ends without. */
  async shows(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.screen)) {
      if (this.#over) throw new Error(`kubectl ended without ${pattern}: ${this.screen}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  kill(): void {
    this.#terminal.kill('SIGKILL');
  }
}
