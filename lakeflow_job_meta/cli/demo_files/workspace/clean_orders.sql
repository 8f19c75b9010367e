-- Stage 2: what is worth keeping of the raw orders.
CREATE SCHEMA IF NOT EXISTS silver.demo;

CREATE OR REPLACE TABLE silver.demo.orders AS
SELECT order_id, day, region, trim(customer) AS customer, amount
FROM bronze.demo.orders
WHERE amount >= CAST(:min_amount AS DOUBLE);
