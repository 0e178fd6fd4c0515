/** What is told of a chunk whose memory is lent for the call alone: it is written over afterwards. */
export function lent(chunk: Buffer, tell: (chunk: Buffer) => readonly Buffer[]): Buffer {
  const memory = Buffer.from(chunk);
  const told = Buffer.concat(tell(memory));
  memory.fill('!');
  return told;
}
