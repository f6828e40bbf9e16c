export function createRun() { return { draw() {} }; }
