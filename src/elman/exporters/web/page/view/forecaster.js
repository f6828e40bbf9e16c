export function showForecaster() {}
