-- The value of the button that the customer pressed, as the dialogue offered it.
alter table messages add column choice text check (length(choice) <= 400);
