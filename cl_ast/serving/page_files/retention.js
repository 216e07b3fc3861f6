export const retention = { show() {} };
