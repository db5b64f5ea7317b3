// Part 11: what C++ holds. Kept in a context slot that scripts cannot reach.

// V8 adds Error.stackTraceLimit to a context restored into an ordinary isolate and has none in the
// isolate that makes a snapshot; adding it over an existing one corrupts it. So C++ calls `thaw`
// right after every context is made, and `freeze` right before every snapshot.
// Newer V8 (11.3) also puts Atomics back into every context it restores, whatever its flags say.
let stackTraceLimit = 10;
function thaw() {
  NativeError.stackTraceLimit = stackTraceLimit;
  deleteProperty(globalObject, 'Atomics');
}
function freezeRun() {
  stackTraceLimit = NativeError.stackTraceLimit;
  deleteProperty(NativeError, 'stackTraceLimit');
}
deleteProperty(NativeError, 'stackTraceLimit');

function unhandled(reason) {
  logUncaught('Unhandled promise rejection:', reason);
}

// Forgets the warm-up run that compiles the functions above into the base snapshot.
function reset() {
  seedA = 1;
  seedB = 2;
  seedC = 3;
  seedD = 4;
  now = 0;
  timeOrigin = 0;
  calls = 0;
  phase = 0;
  logs = 0;
  turn_logs = 0;
  timers = 0;
  groupIndent = '';
  stackTraceLimit = 10;
  mapClear(pending);
  mapClear(dropped);
  cancellation = undefined;
  cancelReason = undefined;
  taskSignal = undefined;
  mapClear(activeTimers);
  mapClear(attributeNames);
  mapClear(counts);
  mapClear(stopwatches);
  deleteProperty(globalObject, 'task');
}

return freeze({
  __proto__: null, begin, start, settle, fail, endCancelled, unhandled, thaw, freeze: freezeRun, reset,
  pending: () => mapSize(pending), Error: NativeError,
});
