-- Orders per day and region, from silver to gold. Parameter: start_date (the first day to keep).
CREATE SCHEMA IF NOT EXISTS gold.examples;

CREATE OR REPLACE TABLE gold.examples.daily_sales AS
SELECT
  order_date,
  region,
  count(*) AS orders,
  sum(amount) AS revenue
FROM silver.examples.orders
WHERE order_date >= CAST(:start_date AS DATE)
GROUP BY order_date, region;
