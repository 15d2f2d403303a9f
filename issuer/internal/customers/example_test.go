package customers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
)

func ExampleLoadFile() {
	const lines = `{"id":"0f8fad5b-d9cb-469f-a165-70867728950e",` +
		`"organization_id":"7c9e6679-7425-40de-944b-e07fc1f90ae7",` +
		`"external_id":"user_1","email":"ada@example.com"}`
	directory, err := customers.LoadFile(strings.NewReader(lines))
	if err != nil {
		fmt.Println(err)
		return
	}
	query := customers.Query{
		OrganizationID: uuid.MustParse("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
		ExternalID:     "user_1",
	}
	customer, err := directory.Find(context.Background(), query)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(customer.ID, *customer.Email)

	query.ExternalID = "user_2"
	_, err = directory.Find(context.Background(), query)
	fmt.Println(err, errors.Is(err, customers.ErrNotFound))
	// Output:
	// 0f8fad5b-d9cb-469f-a165-70867728950e ada@example.com
	// customer does not exist true
}

func ExampleParse() {
	_, err := customers.Parse([]byte(`{
		"id": "0f8fad5b-d9cb-469f-a165-70867728950e",
		"email": "ada",
		"billing_address": {"city": "London"}
	}`), customers.Defaults{
		OrganizationID: uuid.MustParse("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
	})
	if invalid, ok := errors.AsType[*customers.ValidationError](err); ok {
		for _, problem := range invalid.Problems {
			fmt.Println(problem.Type, problem.Loc, problem.Msg)
		}
	}
	// Output:
	// value_error [email] Input should be an e-mail address
	// missing [billing_address country] Field required
	// missing [created_at] Field required
}
