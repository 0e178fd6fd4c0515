// Preloaded by scripts/tap.mjs. Tap's import hooks are there for coverage and mocks, which are not used here; they take every
// import through another thread, which is a third of the start of a test that imports the daemon.
import module from 'node:module';

if (process.argv[1]?.includes('/.compiled/')) {
  module.register = () => {};
  // What a test starts is as its users would start it.
  delete process.env.NODE_OPTIONS;
}
