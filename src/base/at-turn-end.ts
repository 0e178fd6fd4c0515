/** What is handed to the answer in one turn of the event loop is acted on together, once all that could be read has been. */
export function atTurnEnd<T>(act: (item: T) => void): (item: T) => void {
  let items: T[] = [];
  return (item) => {
    if (items.push(item) > 1) return;
    setImmediate(() => {
      const due = items;
      items = [];
      for (const one of due) act(one);
    });
  };
}
