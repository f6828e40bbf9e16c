export function showTranscriber() {}
