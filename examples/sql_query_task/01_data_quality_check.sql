SELECT
  count(*) AS orders,
  count_if(amount IS NULL OR amount <= 0) AS bad,
  100.0 * count_if(amount IS NULL OR amount <= 0) / count(*) <= CAST(:threshold AS DOUBLE) AS passed
FROM bronze.examples.orders
