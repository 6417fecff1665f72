-- Numbers for customers that a CRM creates. Those of the core banking system keep their own.
create sequence customer_numbers start with 500001;
