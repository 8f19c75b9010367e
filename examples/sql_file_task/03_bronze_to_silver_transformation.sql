-- Bronze to silver: one row for each order (the one that was loaded last), without worthless amounts.
CREATE SCHEMA IF NOT EXISTS silver.examples;

CREATE OR REPLACE TABLE silver.examples.orders AS
SELECT order_id, customer_id, order_date, region, amount, loaded_at
FROM (
  SELECT *, row_number() OVER (PARTITION BY order_id ORDER BY loaded_at DESC) AS newest
  FROM bronze.examples.orders
)
WHERE newest = 1 AND amount > 0;
