export interface Letter {
  readonly channel: number;
  readonly text: string;
}

/** Messages of one side of an exec or attach, in order. */
export class Mailbox {
  readonly all: Letter[] = [];
  readonly #wakers = new Set<() => void>();
  #taken = 0;

  put(letter: Letter): void {
    this.all.push(letter);
    for (const wake of [...this.#wakers]) wake();
  }

  /** The next message that nobody has taken. */
  async next(): Promise<Letter> {
    for (;;) {
      const message = this.all[this.#taken];
      if (message !== undefined) {
        this.#taken++;
        return message;
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wakers.delete(wake);
          resolve();
        };
        this.#wakers.add(wake);
      });
    }
  }

  /** What has been taken is no longer kept. */
  forget(): void {
    this.all.splice(0, this.#taken);
    this.#taken = 0;
  }

  of(channel: number): string[] {
    return this.all.filter((message) => message.channel === channel).map((message) => message.text);
  }
}
