/** Imported for its effect: more listeners on one emitter than Node takes for right fail the test they come from. */
process.on('warning', (warning) => {
  if (warning.name === 'MaxListenersExceededWarning') throw warning;
});
