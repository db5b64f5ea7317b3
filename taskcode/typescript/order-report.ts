/// <reference path="../sequential.d.ts" />
import { add, euros, type Money } from "./lib/money";

interface Order {
  customer: string;
  cents: number;
}

interface Report {
  customers: { customer: string; total: string }[];
  orders: number;
}

/**
 * Adds up orders per customer, one call for each order. It needs no credentials.
 * `sequential-runner publish` bundles this file with what it imports.
 */
export default async function orderReport(input: { orders: Order[] }): Promise<Report> {
  const totals = new Map<string, Money>();
  for (const order of input.orders) {
    const { customer, cents } = (await services.echo.echo(order)) as Order;
    totals.set(customer, add(totals.get(customer), cents));
  }
  const customers = [...totals].map(([customer, total]) => ({ customer, total: euros(total) }));
  return { customers, orders: input.orders.length };
}
