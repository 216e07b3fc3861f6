export const tasks = { show() {} };
