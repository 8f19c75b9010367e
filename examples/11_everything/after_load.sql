-- Statements one after another on the task's own Spark: what a SQL warehouse's single statement cannot do.
CREATE SCHEMA IF NOT EXISTS gold.examples;
CREATE OR REPLACE VIEW gold.examples.best_day AS
SELECT order_date, sum(revenue) AS revenue FROM gold.examples.daily_sales GROUP BY order_date ORDER BY revenue DESC LIMIT 1;
