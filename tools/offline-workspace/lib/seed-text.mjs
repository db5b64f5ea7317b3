// The words the seeded workspace is made of. All domains are under .example, which RFC 2606 reserves: nothing in here can
// be a real address.

export const COMPANIES = [
  ["alderbrook.example", "Alderbrook"],
  ["brightwater.example", "Brightwater"],
  ["cedarhill.example", "Cedar Hill"],
  ["dunmore-labs.example", "Dunmore Labs"],
  ["eastgate.example", "Eastgate"],
];

export const GIVEN_NAMES = [
  "Ines",
  "Tomasz",
  "Noor",
  "Marek",
  "Zoë",
  "Priya",
  "Jonas",
  "Amara",
  "Léa",
  "Hiro",
  "Sofia",
  "Kwame",
  "Greta",
  "Mateo",
  "Yuki",
  "Fatima",
  "Oskar",
  "Leila",
  "Rowan",
  "Beatriz",
  "Anton",
  "Mei",
  "Silas",
  "Chiara",
  "Idris",
  "Paula",
  "Viktor",
];

export const FAMILY_NAMES = [
  "Adler",
  "Nowak",
  "Haddad",
  "Černý",
  "Van Dijk",
  "Raman",
  "Lindqvist",
  "Okafor",
  "Moreau",
  "Tanaka",
  "Rossi",
  "Mensah",
  "Bauer",
  "Herrera",
  "Ito",
  "Rahman",
  "Nilsen",
  "Karimi",
  "Doyle",
  "Costa",
  "Petrov",
  "Chen",
  "Hughes",
  "Greco",
  "Diallo",
];

const HALDEN = "Halden Paper <billing@halden-paper.example>";
const METRO = "Metro Power & Light <accounts@metro-power.example>";
const SCHAEFER = "Büro Schäfer <kontakt@buero-schaefer.example>";

/**
 * What a message can be about. `{n}` is a number, `{month}` a month, `{who}` the mailbox owner's given name. `from` is
 * "colleague", "owner" (a sent message) or a list of senders outside; `attach` is the name of an attached file.
 */
export const TOPICS = [
  {
    subject: "Invoice {n} for {month}",
    body: "Dear {who}, please find invoice {n} attached. It's payable within 30 days.",
    from: [HALDEN, METRO, SCHAEFER],
    labels: ["INBOX", "CATEGORY_UPDATES"],
    attach: "invoice-{n}.pdf",
  },
  {
    subject: "Important: password policy changes in {month}",
    body: "From next week passwords need 14 characters. Don't wait for the reminder & change yours today.",
    from: "colleague",
    labels: ["INBOX", "IMPORTANT", "UNREAD"],
  },
  {
    subject: "Quarterly report, draft {n}",
    body: "{who}, this is the draft of the quarterly report. Figures for {month} are still missing.",
    from: "colleague",
    labels: ["INBOX", "STARRED"],
    attach: "report-draft-{n}.txt",
  },
  {
    subject: "Lunch on Thursday?",
    body: "There's a new place near the station. Shall we say 12:30?",
    from: "colleague",
    labels: ["INBOX"],
  },
  {
    subject: "Re: Lunch on Thursday?",
    body: "12:30 is fine, see you there.",
    from: "owner",
    labels: ["SENT"],
  },
  {
    subject: "Build {n} failed on main",
    body: "3 of 412 tests failed in build {n}. The first failure is in the storage suite.",
    from: ["Build Service <builds@ci.example>"],
    labels: ["INBOX", "UNREAD", "CATEGORY_FORUMS"],
  },
  {
    subject: "Shipment {n} has left the warehouse",
    body: "Your shipment {n} is on its way and should arrive before the end of {month}.",
    from: ["Quickfreight <dispatch@quickfreight.example>"],
    labels: ["INBOX", "CATEGORY_UPDATES"],
  },
  {
    subject: "Réunion d'équipe: ordre du jour de {month} 📅",
    body: "Bonjour {who}, l'ordre du jour est prêt. Qui présente les chiffres ?",
    from: "colleague",
    labels: ["INBOX", "UNREAD"],
  },
  {
    subject: "Contract with Halden Paper, version {n}",
    body: "{who}, the contract is ready to sign. Legal's remarks <see page 4> are in.",
    from: "colleague",
    labels: ["INBOX", "IMPORTANT"],
    attach: "contract-v{n}.pdf",
  },
  {
    subject: "The Weekly Ledger, issue {n}",
    body: "In this issue: energy prices in {month}, a portrait of a paper mill, and the crossword.",
    from: ["The Weekly Ledger <news@weekly-ledger.example>"],
    labels: ["INBOX", "CATEGORY_PROMOTIONS"],
  },
  {
    subject: "Important: access review due by the end of {month}",
    body: "{who}, please confirm the {n} accounts on your list. Accounts nobody confirms are closed.",
    from: "colleague",
    labels: ["INBOX", "IMPORTANT"],
  },
  {
    subject: "Holiday plan for {month}",
    body: "I've put my days in the calendar. Can you cover the second week?",
    from: "owner",
    labels: ["SENT"],
  },
];

export const MONTHS = ["January", "February", "March", "April", "May", "June"];
