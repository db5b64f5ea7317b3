/** Whole cents. */
export type Money = number;

export function add(sum: Money = 0, cents: Money): Money {
  if (!Number.isInteger(cents)) throw new RangeError(`${cents} is not a whole number of cents`);
  return sum + cents;
}

export function euros(money: Money): string {
  return `EUR ${(money / 100).toFixed(2)}`;
}
